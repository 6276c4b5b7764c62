import { execFile } from 'node:child_process'
import { readdir, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import type { TestProject } from 'vitest/node'
import { processStart } from '../../src/db/embedded/folder-lock.ts'

declare module 'vitest' {
  // Declaration merging, the one thing that only an interface can do.
  interface ProvidedContext {
    builtPrograms: string
  }
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const NAME = /^dist-tests-(\d+)$/

/**
 * Vitest's global setup: compiles the programs that tests start as processes. Each start through tsx
 * would take three seconds of CPU, of this one less than one; types are checked by `npm run check`.
 * Into a folder of this run: another run beside it would change files under ours.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeAbandoned()
  const built = join(ROOT, `dist-tests-${process.pid}`)
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const compiler = join(dirname(typescript), 'bin', 'tsc')
  const options = ['-p', 'tsconfig.build.json', '--noCheck', '--outDir', built]
  await promisify(execFile)(process.execPath, [compiler, ...options], { cwd: ROOT })
  project.provide('builtPrograms', built)
  return () => rm(built, { recursive: true })
}

async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(ROOT)) {
    const pid = NAME.exec(name)?.[1]
    if (pid === undefined || (await processStart(Number(pid))) !== undefined) continue
    await rm(join(ROOT, name), { recursive: true })
  }
}

/** The compiled file of a program, for example of `src/main.ts`. */
export function builtProgram(file: string): string {
  return join(inject('builtPrograms'), file.replace(/\.ts$/, '.js'))
}
