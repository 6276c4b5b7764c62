import { mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import knexFactory from 'knex'
import { describe, expect, it } from 'vitest'
import {
  startEmbeddedPostgres,
  startWithin,
} from '../../../src/db/embedded/start-embedded-postgres.ts'
import { launcherProcess } from './launcher-process.ts'
import { afterThisTest, ask, lives, scratchFolder, serverPid, useReadyCluster } from './scratch.ts'

const readyCluster = useReadyCluster()

async function mode(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

describe('a first start', () => {
  it('creates a UTF-8 database of an ordinary role, inaccessible to other users of the machine', async () => {
    const folder = join(await scratchFolder(), 'postgres')
    afterThisTest(() => server.stop())
    const server = await startEmbeddedPostgres({ folder })
    expect(server).toMatchObject({ reused: false, dataFolder: join(folder, 'data') })
    const facts = await ask(
      server.connectionString,
      `select current_user, current_database() as database, upper('é') as upper,
         current_setting('timezone') as timezone, current_setting('fsync') as fsync,
         current_setting('server_encoding') as encoding,
         (select rolsuper or rolbypassrls or rolcreatedb or rolcreaterole
          from pg_roles where rolname = current_user) as special,
         pg_get_userbyid(datdba) as owner
       from pg_database where datname = current_database()`,
    )
    expect(facts).toEqual([
      {
        current_user: 'sponsor_vouchers',
        database: 'sponsor_vouchers',
        upper: 'É',
        timezone: 'UTC',
        fsync: 'on',
        encoding: 'UTF8',
        special: false,
        owner: 'sponsor_vouchers',
      },
    ])
    expect(await ask(server.adminConnectionString, 'show is_superuser')).toEqual([
      { is_superuser: 'on' },
    ])
    expect(await mode(folder)).toBe(0o700)
    expect(await mode(join(folder, 'passwords.json'))).toBe(0o600)
  })
})

describe('a server on an existing folder', () => {
  it('keeps data and passwords over a restart', async () => {
    const folder = await readyCluster()
    const first = await startEmbeddedPostgres({ folder, durable: false })
    await ask(first.connectionString, `create table notes as select 'kept' as note`)
    const pid = await serverPid(first.dataFolder)
    await first.stop()
    expect(await lives(pid)).toBe(false)
    const second = await startEmbeddedPostgres({ folder, durable: false })
    expect(second).toMatchObject({ reused: false, connectionString: first.connectionString })
    expect(await ask(second.connectionString, 'select note from notes')).toEqual([{ note: 'kept' }])
    await second.stop()
  })

  it('is reachable with knex and pg', async () => {
    const server = await startEmbeddedPostgres({ folder: await readyCluster(), durable: false })
    for (const db of [
      knexFactory(server.connectionString),
      knexFactory({ client: 'pg', connection: { connectionString: server.connectionString } }),
    ]) {
      afterThisTest(() => db.destroy())
      const { rows } = await db.raw<{ rows: unknown[] }>('select 1 as one')
      expect(rows).toEqual([{ one: 1 }])
    }
  })

  it('refuses a wrong password', async () => {
    const server = await startEmbeddedPostgres({ folder: await readyCluster(), durable: false })
    const url = new URL(server.connectionString)
    url.password = 'guess'
    await expect(ask(url.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
  })

  it('uses the given settings', async () => {
    const folder = await readyCluster()
    const options = { folder, durable: false, maxConnections: 17, database: 'another' }
    const server = await startEmbeddedPostgres(options)
    const settings = await ask(
      server.connectionString,
      `select current_database() as database, name, setting from pg_settings
       where name in ('fsync', 'full_page_writes', 'max_connections', 'synchronous_commit')
       order by name`,
    )
    const database = 'another'
    expect(settings).toEqual([
      { database, name: 'fsync', setting: 'off' },
      { database, name: 'full_page_writes', setting: 'off' },
      { database, name: 'max_connections', setting: '17' },
      { database, name: 'synchronous_commit', setting: 'off' },
    ])
  })

  it('is reachable although its folder is too long for a socket path', async () => {
    const shallow = await readyCluster()
    const folder = join(shallow, ...Array.from({ length: 12 }, () => 'a-long-folder-name'))
    await mkdir(folder, { recursive: true })
    const server = await startEmbeddedPostgres({ folder, durable: false })
    afterThisTest(() => server.stop())
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    const socketFolder = new URL(server.connectionString).searchParams.get('host') ?? ''
    expect(await mode(socketFolder)).toBe(0o700)
    await server.stop()
    await expect(stat(socketFolder)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('can listen on loopback and be started by pg_ctl, as on Windows', async () => {
    const folder = await readyCluster()
    const windows = { transport: 'tcp', through: 'pg_ctl' } as const
    const server = await startWithin({ folder, durable: false }, windows)
    expect(new URL(server.connectionString).hostname).toBe('127.0.0.1')
    const addresses = await ask(server.connectionString, 'show listen_addresses')
    expect(addresses).toEqual([{ listen_addresses: '127.0.0.1' }])
    const pid = await serverPid(server.dataFolder)
    await server.stop()
    expect(await lives(pid)).toBe(false)
  })

  it('gets new passwords when the file with the old ones is lost', async () => {
    const folder = await readyCluster()
    const before = await startEmbeddedPostgres({ folder, durable: false })
    await before.stop()
    await rm(join(folder, 'passwords.json'))
    const after = await startEmbeddedPostgres({ folder, durable: false })
    expect(after.connectionString).not.toBe(before.connectionString)
    expect(await ask(after.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('does not log the values of refused rows', async () => {
    const folder = await readyCluster()
    const server = await startEmbeddedPostgres({ folder, durable: false })
    await ask(server.connectionString, 'create table codes (code text unique)')
    const insert = () => ask(server.connectionString, `insert into codes values ('BULK-TOPSECRET')`)
    await insert()
    await expect(insert()).rejects.toMatchObject({ code: '23505' })
    const log = await readFile(join(folder, 'server.log'), 'utf8')
    expect(log).toContain('codes_code_key')
    expect(log).not.toContain('TOPSECRET')
  })
})

describe('the process that started it', () => {
  it('ends after stop(), and may call stop() twice', async () => {
    const folder = await readyCluster()
    const launcher = launcherProcess({ folder, end: 'finish' })
    const { dataFolder } = await launcher.started
    expect(await launcher.ended).toEqual({ code: 0, signal: null })
    await expect(serverPid(dataFolder)).rejects.toThrow('absent')
  })

  it('is not kept alive by the server, which keeps running for the next start', async () => {
    const folder = await readyCluster()
    const launcher = launcherProcess({ folder, end: 'abandon' })
    const { connectionString } = await launcher.started
    expect(await launcher.ended).toEqual({ code: 0, signal: null })
    const next = await startEmbeddedPostgres({ folder, durable: false })
    expect(next).toMatchObject({ reused: true, connectionString })
    await Promise.all([next.stop(), next.stop()])
  })

  it('stops the server even when its folder was deleted', async () => {
    const folder = await readyCluster()
    const server = await startEmbeddedPostgres({ folder, durable: false })
    const pid = await serverPid(server.dataFolder)
    await rm(folder, { recursive: true, force: true })
    await server.stop()
    expect(await lives(pid)).toBe(false)
  })
})
