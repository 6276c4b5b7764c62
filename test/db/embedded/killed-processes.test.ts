import { execFile } from 'node:child_process'
import { readdir, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { describe, expect, it, vi } from 'vitest'
import { startEmbeddedPostgres } from '../../../src/db/embedded/start-embedded-postgres.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'
import { launcherProcess } from './launcher-process.ts'
import { afterThisTest, ask, lives, scratchFolder, serverPid, useReadyCluster } from './scratch.ts'

const readyCluster = useReadyCluster()
const run = promisify(execFile)

async function ended(pid: number): Promise<void> {
  await vi.waitFor(async () => expect(await lives(pid)).toBe(false), POLL_OPTIONS)
}

describe('after kill -9 of the process that launched it', () => {
  it('uses the server that is still running, and stops it at the end', async () => {
    const folder = await readyCluster()
    const launcher = launcherProcess({ folder })
    const { connectionString, dataFolder } = await launcher.started
    const pid = await serverPid(dataFolder)
    process.kill(-launcher.pid, 'SIGKILL')
    await launcher.ended
    const server = await startEmbeddedPostgres({ folder, durable: false })
    expect(server).toMatchObject({ reused: true, connectionString })
    expect(await serverPid(dataFolder)).toBe(pid)
    await server.stop()
    expect(await lives(pid)).toBe(false)
  })

  it('restarts the remaining server when its settings differ', async () => {
    const folder = await readyCluster()
    const launcher = launcherProcess({ folder })
    await launcher.started
    launcher.child.kill('SIGKILL')
    await launcher.ended
    const notes: string[] = []
    const log = (note: string) => notes.push(note)
    const server = await startEmbeddedPostgres({ folder, durable: true, log })
    expect(await ask(server.connectionString, 'show fsync')).toEqual([{ fsync: 'on' }])
    expect(server.reused).toBe(false)
    expect(notes.join()).toContain('fsync=off')
  })

  it('starts when the launcher was killed while it created the cluster', async () => {
    const folder = await scratchFolder()
    const launcher = launcherProcess({ folder })
    const unfinished = async () => (await readdir(folder)).find((n) => /^data\.unfin\S+\w$/.test(n))
    await vi.waitFor(
      async () => {
        const draft = await unfinished()
        // initdb has begun to fill the folder.
        await stat(join(folder, draft ?? 'none', 'PG_VERSION'))
      },
      { timeout: 60_000, interval: 5 },
    )
    // Its process group contains initdb too.
    process.kill(-launcher.pid, 'SIGKILL')
    await launcher.ended
    expect(await readdir(folder)).not.toContain('data')
    const server = await startEmbeddedPostgres({ folder, durable: false })
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await unfinished()).toBeUndefined()
  })
})

describe('after kill -9 of the database server', () => {
  it('recovers all committed data', async () => {
    const folder = await readyCluster()
    const first = await startEmbeddedPostgres({ folder })
    await ask(first.connectionString, `create table notes as select 'committed' as note`)
    const pid = await serverPid(first.dataFolder)
    process.kill(pid, 'SIGKILL')
    await ended(pid)
    const second = await startEmbeddedPostgres({ folder })
    expect(second.reused).toBe(false)
    const notes = await ask(second.connectionString, 'select note from notes')
    expect(notes).toEqual([{ note: 'committed' }])
    await first.stop()
    expect(await ask(second.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    await second.stop()
  })

  it('kills sessions that still compute without their server, and recovers', async () => {
    const folder = await readyCluster()
    const first = await startEmbeddedPostgres({ folder, durable: false })
    const busy = new pg.Client({ connectionString: first.connectionString })
    busy.on('error', () => {})
    await busy.connect()
    const [session] = (await busy.query<{ pid: number }>('select pg_backend_pid() as pid')).rows
    const endless = busy.query('do $$ begin loop end loop; end $$').catch((error: unknown) => error)
    const pid = await serverPid(first.dataFolder)
    await vi.waitFor(async () => {
      const sql = `select from pg_stat_activity where pid = ${session?.pid} and state = 'active'`
      expect(await ask(first.adminConnectionString, sql)).toHaveLength(1)
    }, POLL_OPTIONS)
    process.kill(pid, 'SIGKILL')
    await ended(pid)
    expect(await lives(session?.pid ?? 0)).toBe(true)
    const notes: string[] = []
    const log = (note: string) => notes.push(note)
    const second = await startEmbeddedPostgres({ folder, durable: false, log })
    expect(await ask(second.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await lives(session?.pid ?? 0)).toBe(false)
    expect(notes.join()).toContain(`${session?.pid}`)
    expect(await endless).toBeInstanceOf(Error)
  })

  it('lets stop() return immediately', async () => {
    const server = await startEmbeddedPostgres({ folder: await readyCluster(), durable: false })
    const pid = await serverPid(server.dataFolder)
    process.kill(pid, 'SIGKILL')
    await ended(pid)
    await expect(server.stop()).resolves.toBeUndefined()
  })
})

describe('a postmaster.pid that was left behind', () => {
  it('is ignored when its process id now belongs to another program', async () => {
    const folder = await readyCluster()
    const data = join(folder, 'data')
    const stranger = execFile('sleep', ['600'])
    afterThisTest(async () => stranger.kill())
    const lines = [stranger.pid, data, 1, 5432, '/tmp/nowhere', '', '1 1', 'ready']
    await writeFile(join(data, 'postmaster.pid'), `${lines.join('\n')}\n`)
    const server = await startEmbeddedPostgres({ folder, durable: false })
    expect(server.reused).toBe(false)
    expect(await serverPid(data)).not.toBe(stranger.pid)
    expect(await lives(stranger.pid ?? 0)).toBe(true)
  })

  it('is ignored when that program is the database server of another folder', async () => {
    const [folder, otherFolder] = [await readyCluster(), await readyCluster()]
    const other = await startEmbeddedPostgres({ folder: otherFolder, durable: false })
    const pidFile = join(folder, 'data', 'postmaster.pid')
    await run('cp', [join(other.dataFolder, 'postmaster.pid'), pidFile])
    const server = await startEmbeddedPostgres({ folder, durable: false })
    expect(server.reused).toBe(false)
    const [found] = await ask(server.adminConnectionString, 'show data_directory')
    expect(found).toEqual({ data_directory: join(folder, 'data') })
    expect(await ask(other.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('is ignored when a power failure emptied it', async () => {
    const folder = await readyCluster()
    const pidFile = join(folder, 'data', 'postmaster.pid')
    await writeFile(pidFile, '')
    await truncate(pidFile)
    await utimes(pidFile, 1, 1)
    const server = await startEmbeddedPostgres({ folder, durable: false })
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
  })
})
