import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const BUILT = join(ROOT, 'dist-tests')

/**
 * Vitest's global setup: compiles the programs that tests start as processes. Each start through tsx
 * would take three seconds of CPU, of this one less than one; types are checked by `npm run check`.
 */
export async function setup(): Promise<void> {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const compiler = join(dirname(typescript), 'bin', 'tsc')
  const options = ['-p', 'tsconfig.build.json', '--noCheck', '--outDir', BUILT]
  await promisify(execFile)(process.execPath, [compiler, ...options], { cwd: ROOT })
}

/** The compiled file of a program, for example of `src/main.ts`. */
export function builtProgram(file: string): string {
  return join(BUILT, file.replace(/\.ts$/, '.js'))
}
