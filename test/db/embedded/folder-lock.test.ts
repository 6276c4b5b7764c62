import { readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ownIdentity, withFolderLock } from '../../../src/db/embedded/folder-lock.ts'
import { scratchFolder } from './scratch.ts'

const DEAD = { pid: 2 ** 22 + 1, started: 'long ago', token: 'dead' }

async function lockOf(holder: object | string): Promise<string> {
  const path = join(await scratchFolder(), 'lock')
  await writeFile(path, typeof holder === 'string' ? holder : JSON.stringify(holder))
  return path
}

/** Twenty processes compete for the lock. Returns the maximum inside at a time, and how many got in. */
async function contend(path: string): Promise<{ atOnce: number; entered: number }> {
  const count = { inside: 0, atOnce: 0, entered: 0 }
  const contender = () =>
    withFolderLock(path, 20_000, async () => {
      count.inside += 1
      count.entered += 1
      count.atOnce = Math.max(count.atOnce, count.inside)
      for (let turn = 0; turn < 5; turn++) await setImmediate()
      count.inside -= 1
    })
  await Promise.all(Array.from({ length: 20 }, contender))
  return { atOnce: count.atOnce, entered: count.entered }
}

describe('the lock', () => {
  it('admits one process at a time and leaves no file', async () => {
    const path = join(await scratchFolder(), 'lock')
    expect(await contend(path)).toEqual({ atOnce: 1, entered: 20 })
    expect(await readdir(join(path, '..'))).toEqual([])
  })

  it('passes to exactly one of many waiting processes when its holder died', async () => {
    const path = await lockOf(DEAD)
    expect(await contend(path)).toEqual({ atOnce: 1, entered: 20 })
    expect(await readdir(join(path, '..'))).toEqual([])
  })

  it('passes on when a process died while it took over', async () => {
    const path = await lockOf(DEAD)
    await writeFile(`${path}.dead`, JSON.stringify({ ...DEAD, token: 'heir' }))
    expect(await contend(path)).toEqual({ atOnce: 1, entered: 20 })
  })

  it('passes on when a power failure emptied it', async () => {
    const path = await lockOf('')
    expect(await contend(path)).toEqual({ atOnce: 1, entered: 20 })
  })

  it.runIf(process.platform === 'linux')(
    'is not held by a process that only has the dead holder’s id, as after a container restart',
    async () => {
      const path = await lockOf({ ...DEAD, pid: process.pid })
      expect(await contend(path)).toEqual({ atOnce: 1, entered: 20 })
    },
  )

  it('deletes the drafts of killed processes', async () => {
    const path = join(await scratchFolder(), 'lock')
    await writeFile(`${path}.dead.draft`, '')
    await utimes(`${path}.dead.draft`, 1, 1)
    await withFolderLock(path, 1_000, async () => {})
    expect(await readdir(join(path, '..'))).toEqual([])
  })

  it('names the living holder when it is not released in time', async () => {
    const path = await lockOf({ ...(await ownIdentity()), token: 'alive' })
    const waiting = withFolderLock(path, 50, async () => 'inside')
    await expect(waiting).rejects.toThrow(`Process ${process.pid} has been starting or stopping`)
    expect(await readFile(path, 'utf8')).toContain('alive')
  })

  it('is released when the work fails', async () => {
    const path = join(await scratchFolder(), 'lock')
    const failing = withFolderLock(path, 1_000, async () => {
      throw new Error('no luck')
    })
    await expect(failing).rejects.toThrow('no luck')
    expect(await withFolderLock(path, 1_000, async () => 'inside')).toBe('inside')
  })
})
