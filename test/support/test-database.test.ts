import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { directUrl } from './test-connections.ts'
import { createTestDatabase, useTestDatabase } from './test-database.ts'

async function ask(connectionString: string, sql: string) {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

describe('a database for the tests of one file', () => {
  const database = useTestDatabase()

  it('has the whole schema', async () => {
    const rows = await ask(database.connectionString, `select to_regclass('conferences') as table`)
    expect(rows).toEqual([{ table: 'conferences' }])
  })

  it('is used as an ordinary role, to which row security applies', async () => {
    const rows = await ask(
      database.connectionString,
      `select rolsuper or rolbypassrls or rolcreatedb or rolcreaterole as special,
         pg_get_userbyid(datdba) = current_user as owner
       from pg_roles, pg_database where rolname = current_user and datname = current_database()`,
    )
    expect(rows).toEqual([{ special: false, owner: true }])
  })

  it('lets assertions look behind row security', async () => {
    await ask(
      database.connectionString,
      `create table diaries as select 'secret' as text;
       alter table diaries enable row level security;
       alter table diaries force row level security;`,
    )
    expect(await ask(database.connectionString, 'select text from diaries')).toEqual([])
    const seen = await ask(database.adminConnectionString, 'select text from diaries')
    expect(seen).toEqual([{ text: 'secret' }])
  })
})

it('gives simultaneous callers databases that know nothing of each other', async () => {
  const databases = await Promise.all([1, 2, 3, 4].map(() => createTestDatabase()))
  try {
    for (const [index, { connectionString }] of databases.entries()) {
      await ask(connectionString, `create table marks as select ${index} as mark`)
    }
    for (const [index, { connectionString }] of databases.entries()) {
      expect(await ask(connectionString, 'select mark from marks')).toEqual([{ mark: index }])
    }
  } finally {
    await Promise.all(databases.map((database) => database.drop()))
  }
})

it('is gone once dropped, even with a session still open', async () => {
  const database = await createTestDatabase()
  const connectionString = directUrl(database.connectionString)
  const session = new pg.Client({ connectionString })
  const ended = new Promise((resolve) => session.on('error', resolve))
  await session.connect()
  await database.drop()
  await ended
  await expect(ask(connectionString, 'select 1')).rejects.toMatchObject({ code: '3D000' })
})
