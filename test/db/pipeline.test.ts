import { afterAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { tenantStatement, withTenant } from '../../src/db/tenant-scope.ts'
import { createConference } from '../support/fixtures.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { useTestApp } from '../support/test-app.ts'
import { directUrl } from '../support/test-connections.ts'

const app = useTestApp()
const pools: Db[] = []
afterAll(() => Promise.all(pools.map((pool) => pool.destroy())))

/** A pool of one connection, so that each statement meets what the one before left. */
function open(options = { prepareStatements: true }): Db {
  const pool = connect(directUrl(app.connectionString), { max: 1, ...options })
  pools.push(pool)
  return pool
}

const tenant = { conferenceId: 'conf_1' }
const double = (db: Db, n: number) =>
  tenantStatement<{ twice: number }>(db, tenant, (bind) => `select ${bind(n)}::int * 2 as twice`)

async function preparedBy(db: Db): Promise<string[]> {
  const { rows } = await db.raw<{ rows: { statement: string }[] }>(
    'select statement from pg_prepared_statements',
  )
  return rows.map(({ statement }) => statement)
}

describe('a connection', () => {
  it('prepares a statement when it runs it for the fifth time, and runs it with any values', async () => {
    const db = open()
    for (const n of [1, 2, 3, 4]) await double(db, n)
    expect(await preparedBy(db)).toEqual([])
    for (const n of [5, 6, 7]) expect(await double(db, n)).toEqual([{ twice: 2 * n }])
    expect(await preparedBy(db)).toEqual(['select $1::int * 2 as twice'])
  })

  it('prepares a hundred statements at most, so that the memory of the server is bounded', async () => {
    const db = open()
    for (let n = 1; n <= 110; n += 1) {
      for (let times = 1; times <= 5; times += 1)
        await tenantStatement(db, tenant, (bind) => `select ${bind(1)}::int + ${n}`)
    }
    expect(await preparedBy(db)).toHaveLength(100)
  })

  it('prepares no list: its plan depends on its values', async () => {
    const db = open()
    for (let times = 1; times <= 6; times += 1) await db.raw('select ?::int', [times])
    expect(await preparedBy(db)).toEqual([])
  })

  it('prepares nothing if the settings say so', async () => {
    const db = open({ prepareStatements: false })
    for (const n of [1, 2, 3, 4, 5, 6]) expect(await double(db, n)).toEqual([{ twice: 2 * n }])
    // As libraries do, of their own accord.
    const connection = await db.client.acquireConnection()
    const { rows } = await connection.query({ name: 'theirs', text: 'select $1::int', values: [7] })
    await db.client.releaseConnection(connection)
    expect(rows).toEqual([{ int4: 7 }])
    expect(await preparedBy(db)).toEqual([])
  })

  it('repeats a prepared statement after a migration added a column to its table', async () => {
    const { id } = await createConference(app)
    const db = open()
    const read = () =>
      withTenant(db, { conferenceId: id }, (trx) =>
        trx('sponsors').where({ id: 'x' }).pluck('name'),
      )
    for (let times = 1; times <= 6; times += 1) await read()
    await app.db.schema.alterTable('sponsors', (table) => void table.text('added_later'))
    expect(await read()).toEqual([])
  })

  it('sends the beginning of a transaction with its first statements', async () => {
    const trips = await roundTripsOf(() =>
      withTenant(app.db, tenant, (trx) => Promise.all([trx.raw('select 1'), trx.raw('select 2')])),
    )
    expect(trips).toEqual([
      `begin; set local app.conference_id = 'conf_1'; select 1; select 2`,
      'COMMIT;',
    ])
  })

  it('sends a statement of its own scope in one round trip, also if the statement fails', async () => {
    const db = open()
    await double(db, 1)
    expect(await roundTripsOf(() => double(db, 1))).toHaveLength(1)
    await expect(
      tenantStatement(db, tenant, (bind) => `select 1 / ${bind(0)}::int`),
    ).rejects.toThrow('division by zero')
    // The failed transaction is over, and its scope with it.
    const { rows } = await db.raw<{ rows: object[] }>(
      `select coalesce(current_setting('app.conference_id', true), '') as scope,
         pg_current_xact_id_if_assigned() as transaction`,
    )
    expect(rows).toEqual([{ scope: '', transaction: null }])
  })

  it('reports the first of several statements that failed, and rolls back', async () => {
    const db = open()
    const work = withTenant(db, tenant, (trx) =>
      Promise.all([trx.raw('select 1 / 0'), trx.raw('select 2')]),
    )
    await expect(work).rejects.toThrow('division by zero')
    expect(await double(db, 4)).toEqual([{ twice: 8 }])
  })
})
