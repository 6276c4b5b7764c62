import { describe, expect, inject, it } from 'vitest'
import { connect, divideConnections } from '../../src/db/connect.ts'
import { isDatabaseUnavailable } from '../../src/db/pg-errors.ts'
import { adminQuery, directUrl } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'

describe('the connections of a process', () => {
  it.each([
    ['all', 16, { api: 6, webhooks: 3, exports: 2, jobs: 5 }],
    ['serve', 16, { api: 9, webhooks: 5, exports: 2, jobs: 0 }],
    ['work', 16, { api: 0, webhooks: 0, exports: 0, jobs: 16 }],
    ['all', 4, { api: 1, webhooks: 1, exports: 1, jobs: 1 }],
    ['all', 2, { api: 1, webhooks: 1, exports: 1, jobs: 1 }],
  ] as const)('are divided among its kinds of work: RUN=%s, %i', (role, total, shares) => {
    expect(divideConnections(total, role)).toEqual(shares)
  })
})

describe('a connection to a server that is no longer the primary', () => {
  const database = useTestDatabase()

  it('is replaced as soon as the server refuses to write', async () => {
    const { adminConnectionString } = inject('testRun')
    const name = new URL(database.connectionString).pathname.slice(1)
    const alter = (sql: string) =>
      adminQuery(adminConnectionString, `alter database ${name} ${sql}`)
    await alter('set default_transaction_read_only = on')
    // A pooler would keep its own session, in which the old default holds.
    const pool = connect(directUrl(database.connectionString), { max: 1 })
    const refusal = await pool.raw('create table probe ()').catch((error: unknown) => error)
    expect(isDatabaseUnavailable(refusal)).toBe(true)
    await alter('reset default_transaction_read_only')
    await pool.raw('create table probe ()')
    await pool.destroy()
  })
})
