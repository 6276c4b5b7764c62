import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Stripe from 'stripe'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { tenantStatement, withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import { useTestDatabase } from './test-database.ts'
import { takeViolations, watchTransactions } from './watch-transactions.ts'

const database = useTestDatabase()
const server = createServer((_, response) => response.end('{}'))
const tenant = { conferenceId: 'conf_1' }
let url: string
let db: Db
let other: Db
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/probe`
  db = connect(database.connectionString)
  other = connect(database.connectionString)
  watchTransactions(db)
  watchTransactions(other)
})
afterAll(async () => {
  await db.destroy()
  await other.destroy()
  server.close()
})

const byFetch = async () => void (await (await fetch(url)).text())

async function byStripe(): Promise<void> {
  const { hostname, port } = new URL(url)
  await new Stripe('sk_test_1', { host: hostname, port, protocol: 'http' }).balance.retrieve()
}

const statement = (pool: Db) => tenantStatement(pool, tenant, (bind) => `select ${bind(1)} as one`)

/** The first line of what the guard found. */
async function found(work: () => Promise<unknown>): Promise<string[]> {
  await work()
  return takeViolations().map((violation) => violation.split('\n')[0] ?? '')
}

describe('the guard of transactions', () => {
  it('finds a request inside a transaction (F20)', async () => {
    expect(await found(() => withTenant(db, tenant, byFetch))).toEqual([
      'GET /probe inside a transaction',
    ])
    expect(await found(() => withSystem(db, 'timers', byFetch))).toHaveLength(1)
    expect(await found(() => withTenant(db, tenant, byStripe))).toEqual([
      'GET /v1/balance inside a transaction',
    ])
  })

  it('finds a second connection inside a transaction, also of another pool', async () => {
    const taken = ['A second connection was taken inside a transaction']
    expect(await found(() => withTenant(db, tenant, () => statement(db)))).toEqual(taken)
    expect(await found(() => withTenant(db, tenant, () => statement(other)))).toEqual(taken)
    const nested = () => withTenant(db, tenant, () => withTenant(db, tenant, async () => 1))
    expect(await found(nested)).toEqual(taken)
  })

  it('allows both before and after a transaction', async () => {
    const work = async () => {
      await byFetch()
      const late = await withTenant(db, tenant, async (trx) => {
        await trx.raw('select 1')
        return { run: byFetch }
      })
      await late.run()
      await statement(db)
    }
    expect(await found(work)).toEqual([])
  })
})
