// Loaded with `node --import` before a generator that needs the JavaScript API of TypeScript, which
// TypeScript 7 does not have: gives it TypeScript 5 instead.
import { register } from 'node:module'

const hooks = `export const resolve = (name, context, next) =>
  next(name === 'typescript' ? 'typescript-5' : name, context)`

register(`data:text/javascript,${encodeURIComponent(hooks)}`)
