import { start } from '../ui/application.tsx'
import { Portal } from './portal.tsx'

start(<Portal />)
