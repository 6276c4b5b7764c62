import { chmod, mkdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { makeSocketFolder } from '../../../src/db/embedded/running-server.ts'
import { afterThisTest, scratchFolder } from './scratch.ts'

async function make(dataFolder: string): Promise<string> {
  const folder = await makeSocketFolder(dataFolder, undefined)
  if (folder === undefined) throw new Error('no folder is short enough')
  afterThisTest(() => rm(folder, { recursive: true, force: true }))
  return folder
}

describe.runIf(process.platform !== 'win32')('the folder of the socket', () => {
  it('is private and always the same for one data folder', async () => {
    const [one, two] = [await scratchFolder(), await scratchFolder()]
    const folder = await make(one)
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
    expect(await make(one)).toBe(folder)
    expect(await make(two)).not.toBe(folder)
  })

  it('is another one when another user has the name', async () => {
    const data = await scratchFolder()
    const folder = await make(data)
    // Open to all users, unlike ours.
    await chmod(folder, 0o777)
    const other = await make(data)
    expect(other).not.toBe(folder)
    expect((await stat(other)).mode & 0o777).toBe(0o700)
  })

  it('is short even when TMPDIR is long', async () => {
    const long = join(await scratchFolder(), 'x'.repeat(100))
    await mkdir(long)
    vi.stubEnv('TMPDIR', long)
    afterThisTest(async () => vi.unstubAllEnvs())
    expect(tmpdir()).toBe(long)
    const folder = await make('/any/data/folder')
    expect(Buffer.byteLength(join(folder, '.s.PGSQL.5432'))).toBeLessThanOrEqual(103)
  })
})
