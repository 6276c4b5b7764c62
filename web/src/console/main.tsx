import { start } from '../ui/application.tsx'
import { Console } from './console.tsx'

start(<Console />)
