import { describe, expect, it } from 'vitest'
import { connect } from '../../src/db/connect.ts'
import { isSchemaCompatible, migrateDown, migrateToLatest } from '../../src/db/migrations.ts'
import { insertAttempt } from '../../src/payments/payment-store.ts'
import { changePurchase, ownerOf } from '../../src/purchases/change-purchase.ts'
import { cause, openScene } from '../purchases/purchase-scene.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()

async function tables(): Promise<string[]> {
  const rows = await adminQuery<{ name: string }>(
    database.adminConnectionString,
    `select tablename as name from pg_tables where schemaname = 'public' order by 1`,
  )
  return rows.map(({ name }) => name)
}

async function withDb<T>(work: (db: ReturnType<typeof connect>) => Promise<T>): Promise<T> {
  const db = connect(database.connectionString)
  try {
    return await work(db)
  } finally {
    await db.destroy()
  }
}

describe('migrations', () => {
  it('roll back completely and migrate again to the same schema (D33)', async () => {
    const before = await tables()
    expect(before).toContain('bulk_purchases')
    await migrateDown(database.connectionString)
    expect(await tables()).toEqual(['knex_migrations', 'knex_migrations_lock'])
    expect(await withDb(isSchemaCompatible)).toBe(false)
    await migrateToLatest(database.connectionString)
    expect(await tables()).toEqual(before)
    expect(await withDb(isSchemaCompatible)).toBe(true)
  })

  it('roll back although a purchase was paid with a saved card, which the earlier schema did not support', async () => {
    await withDb(async (db) => {
      const { ref, run } = await openScene(db)
      const params = { description: 'x', amount: 1, currency: 'EUR', sponsorId: null, named: null }
      await run(async (trx) => {
        const change = (attempt: number, event: 'EXPIRED' | 'OPENED' | 'PAID') =>
          changePurchase(
            trx,
            ref,
            { type: 'attempt', attempt, event, changes: { paymentIntentId: 'pi_1' } },
            cause,
          )
        await change(1, 'EXPIRED')
        const row = { attempt: 2, kind: 'saved_card', params, requestedBy: 'test' } as const
        await insertAttempt(trx, ownerOf(ref), row)
        await change(2, 'OPENED')
        await change(2, 'PAID')
      })
    })
    await migrateDown(database.connectionString)
    expect(await tables()).not.toContain('payment_attempts')
    await migrateToLatest(database.connectionString)
  })

  it('may run in several processes at the same time', async () => {
    await migrateDown(database.connectionString)
    await Promise.all([1, 2, 3].map(() => migrateToLatest(database.connectionString)))
    expect(await withDb(isSchemaCompatible)).toBe(true)
  })

  it('ignore the lock of a killed migration', async () => {
    await withDb((db) => db('knex_migrations_lock').update({ is_locked: 1 }))
    await migrateToLatest(database.connectionString)
    expect(await withDb((db) => db('knex_migrations_lock').pluck('is_locked'))).toEqual([0])
  })
})

describe('a schema that is newer than this service', () => {
  it('is compatible until its recorded minimum is higher than this release', async () => {
    await withDb(async (db) => {
      await db('knex_migrations').insert({ name: '9999_from_the_future', batch: 99 })
      await migrateToLatest(database.connectionString)
      expect(await isSchemaCompatible(db)).toBe(true)
      await db('schema_version').update({ minimum_service_schema: 2 })
      expect(await isSchemaCompatible(db)).toBe(false)
    })
  })
})
