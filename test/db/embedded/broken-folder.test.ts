import { chmod, mkdir, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EmbeddedPostgresError } from '../../../src/db/embedded/embedded-postgres-error.ts'
import { startEmbeddedPostgres } from '../../../src/db/embedded/start-embedded-postgres.ts'
import { scratchFolder, useReadyCluster } from './scratch.ts'

const readyCluster = useReadyCluster()

async function refusal(folder: string): Promise<string> {
  const error: unknown = await startEmbeddedPostgres({ folder, durable: false }).catch((e) => e)
  expect(error).toBeInstanceOf(EmbeddedPostgresError)
  return String(error)
}

describe('a broken data folder is reported with the repair, and not changed', () => {
  it.each([
    ['PG_VERSION is gone', 'PG_VERSION is missing', (data: string) => rm(join(data, 'PG_VERSION'))],
    [
      'another version of PostgreSQL made it',
      'created by PostgreSQL 15, and this is PostgreSQL 18',
      (data: string) => writeFile(join(data, 'PG_VERSION'), '15\n'),
    ],
    [
      'pg_control is empty',
      'global/pg_control has 0 bytes',
      (data: string) => truncate(join(data, 'global', 'pg_control')),
    ],
    [
      'pg_control is gone',
      'global/pg_control is missing',
      (data: string) => rm(join(data, 'global', 'pg_control')),
    ],
    [
      'pg_control is full of zeros',
      'database files are incompatible',
      (data: string) => writeFile(join(data, 'global', 'pg_control'), Buffer.alloc(8192)),
    ],
    [
      'the write-ahead log is gone',
      'could not locate a valid checkpoint record',
      async (data: string) => {
        for (const name of await readdir(join(data, 'pg_wal'))) {
          await rm(join(data, 'pg_wal', name), { recursive: true })
        }
      },
    ],
    [
      'its settings cannot be read',
      'postgresql.conf',
      (data: string) => writeFile(join(data, 'postgresql.conf'), 'what is this?\n'),
    ],
  ])('when %s', async (_, reason, breakIt) => {
    const folder = await readyCluster()
    const data = join(folder, 'data')
    await breakIt(data)
    const before = await readdir(data)
    const message = await refusal(folder)
    expect(message).toContain(reason)
    expect(message).toContain(data)
    expect(message).toContain(`mv '${data}' '${data}.broken'`)
    expect(message).toContain('DATABASE_URL')
    expect(await readdir(data)).toEqual(before)
  })

  it('when it is a file', async () => {
    const folder = await scratchFolder()
    await writeFile(join(folder, 'data'), 'mine')
    expect(await refusal(folder)).toContain('it is not a folder')
    expect((await stat(join(folder, 'data'))).size).toBe(4)
  })

  it('when it contains something else', async () => {
    const folder = await scratchFolder()
    const data = join(folder, 'data')
    await mkdir(data)
    await writeFile(join(data, 'thesis.txt'), 'mine')
    expect(await refusal(folder)).toContain('PG_VERSION is missing')
    expect(await readdir(data)).toEqual(['thesis.txt'])
  })
})

it('reports that the folder itself cannot be created', async () => {
  const folder = await scratchFolder()
  await writeFile(join(folder, 'file'), '')
  const message = await refusal(join(folder, 'file', 'postgres'))
  expect(message).toContain(join(folder, 'file', 'postgres'))
  expect(message).toContain('DATABASE_URL')
})

it('starts on a copy whose permissions are too open for PostgreSQL', async () => {
  const folder = await readyCluster()
  await chmod(join(folder, 'data'), 0o755)
  const server = await startEmbeddedPostgres({ folder, durable: false })
  expect((await stat(server.dataFolder)).mode & 0o777).toBe(0o700)
  await server.stop()
})
