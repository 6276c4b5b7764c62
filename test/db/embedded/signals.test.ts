import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { expect, it, vi } from 'vitest'
import { launcherProcess } from './launcher-process.ts'
import { afterThisTest, scratchFolder, serverPid, useReadyCluster } from './scratch.ts'

const readyCluster = useReadyCluster()

async function openSession(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  await client.connect()
  afterThisTest(() => client.end().catch(() => {}))
  return client
}

it.each(['SIGINT', 'SIGTERM'] as const)(
  'stops the server cleanly on %s to the whole process group, with sessions at work',
  async (signal) => {
    const folder = await readyCluster()
    const launcher = launcherProcess({ folder })
    const { connectionString, dataFolder } = await launcher.started
    await openSession(connectionString)
    const busy = await openSession(connectionString)
    const query = busy.query('select pg_sleep(600)').catch((error: unknown) => error)
    // Like Ctrl-C in a terminal: all processes of the foreground group get the signal.
    process.kill(-launcher.pid, signal)
    expect(await launcher.ended).toEqual({ code: 0, signal: null })
    await expect(serverPid(dataFolder)).rejects.toThrow('absent')
    // 57P01, admin shutdown: the server ended the session in order. A crash gives 57P02 or nothing.
    expect(await query).toMatchObject({ code: '57P01' })
  },
)

it('stops in order on Ctrl-C while it creates the database, and creates it at the next start', async () => {
  const folder = await scratchFolder()
  const launcher = launcherProcess({ folder })
  await vi.waitFor(
    async () => expect((await readdir(folder)).join()).toMatch(/data\.unfinished-\w+(,|$)/),
    { timeout: 60_000, interval: 5 },
  )
  process.kill(-launcher.pid, 'SIGINT')
  // On a busy machine, the signal may come after initdb has finished. Then there is no error.
  const { error = 'could not be created' } = await launcher.started
  expect(error).toContain('could not be created')
  expect(await launcher.ended).toEqual({ code: 0, signal: null })
  expect((await readdir(folder)).join()).not.toContain('unfinished')
  await expect(serverPid(join(folder, 'data'))).rejects.toThrow('absent')
  const again = launcherProcess({ folder, end: 'finish' })
  expect(await again.started).toMatchObject({ reused: false })
  expect(await again.ended).toEqual({ code: 0, signal: null })
})
