import { start } from '../ui/application.tsx'
import { SignIn } from './sign-in.tsx'

start(<SignIn />)
