import { readdir, rm } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'
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

const PROGRAMS = [
  'demo/main.ts',
  'src/main.ts',
  'src/cli/sponsor-vouchers.ts',
  'src/db/embedded/start-embedded-postgres.ts',
]
/** Programs load every file of these folders by its name. */
const FOLDERS = ['src/mirror/resources', 'migrations']

/**
 * Vitest's global setup: bundles the programs that tests start as processes, with the packages that they
 * use. A start of the service takes 0.7 s of CPU; of the files of `npm run build` 1.1 s, because Node loads
 * 1,200 of them, and through tsx three seconds. Types are checked by `npm run check`.
 *
 * Into a folder of this run: another run beside it would change files under ours.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeAbandoned()
  const built = join(ROOT, `dist-tests-${process.pid}`)
  await bundlePrograms({ root: ROOT, programs: PROGRAMS, into: built })
  project.provide('builtPrograms', built)
  return () => rm(built, { recursive: true })
}

/** Bundles programs of the sources in `root`, which may be those of another release. */
export async function bundlePrograms(options: {
  root: string
  programs: readonly string[]
  into: string
}): Promise<void> {
  const { root, programs, into } = options
  const inFolders = FOLDERS.map(async (path) =>
    (await readdir(join(root, path))).map((name) => `${path}/${name}`),
  )
  const files = [...programs, ...(await Promise.all(inFolders)).flat()]
  const bundle = await rolldown({
    cwd: root,
    input: Object.fromEntries(files.map((file) => [file.replace(/\.ts$/, ''), join(root, file)])),
    platform: 'node',
    external: (id) => id === '@fastify/swagger-ui' || OPTIONAL_PACKAGES.test(id),
    plugins: [{ name: 'own-url', transform: (code, id) => keepOwnUrl(root, code, id) }],
  })
  await bundle.write({ dir: into, chunkFileNames: 'chunks/[name]-[hash].js' })
  await bundle.close()
}

// Packages mention them without need; only the driver in use must be installed. Swagger UI serves its files.
const OPTIONAL_PACKAGES =
  /^(better-sqlite3|mariadb\/callback|mysql2?|oracledb|pg-(cloudflare|native|query-stream)|sqlite3|tedious|typescript)$/

/** In a chunk, a module keeps the URL of its own file in the build, from which it finds other files. */
function keepOwnUrl(root: string, code: string, id: string): string | null {
  const file = relative(root, id).replaceAll(sep, '/')
  if (!file.startsWith('src/') || !code.includes('import.meta.url')) return null
  const place = `new URL('../${file.replace(/\.ts$/, '.js')}', import.meta.url).href`
  return code.replaceAll('import.meta.url', place)
}

async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(ROOT)) {
    const pid = NAME.exec(name)?.[1]
    if (pid === undefined || (await processStart(Number(pid))) !== undefined) continue
    await rm(join(ROOT, name), { recursive: true })
  }
}

/** The bundled file of a program, for example of `src/main.ts`. */
export function builtProgram(file: string): string {
  return join(inject('builtPrograms'), file.replace(/\.ts$/, '.js'))
}
