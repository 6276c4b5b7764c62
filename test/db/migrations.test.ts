import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  up as moveCharges,
  down as moveChargesBack,
} from '../../migrations/0050_charge_payments.ts'
import { connect, type Tx } from '../../src/db/connect.ts'
import {
  isSchemaCompatible,
  migrateDown,
  migrateToLatest,
  migrationSource,
} from '../../src/db/migrations.ts'
import { insertAttempt } from '../../src/payments/payment-store.ts'
import { changePurchase, ownerOf } from '../../src/purchases/change-purchase.ts'
import { cause, openScene } from '../purchases/purchase-scene.ts'
import { adminQuery, directUrl } from '../support/test-connections.ts'
import { createEmptyDatabase, useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'

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

const CHARGE_TABLES = ['payment_attempts', 'payments', 'payment_refunds', 'refund_requests']

/** The rows of charges, without the time at which a snapshot first showed them. */
async function rowsOf(trx: Tx, table: string, owner = 'charge_id'): Promise<unknown[]> {
  const { rows } = await trx.raw<{ rows: unknown[] }>(
    `select to_jsonb(t) - 'seen_at' as row from ${table} t where ${owner} is not null order by 1`,
  )
  return rows
}

/** A declined card, an expired page, and a card that paid with one refund. */
const CHARGES = `
  with c as (select cast(:conference as text) as id),
  s as (insert into sponsors (conference_id, id, slug, name)
    select id, 'spon_1', 'spon-1', 'Sponsor' from c),
  k as (insert into customers (conference_id, id, sponsor_id, params, idempotency_key, created_by)
    select id, 'cust_1', 'spon_1', '{}', 'key', 'test' from c),
  h as (insert into charges (conference_id, id, customer_id, sponsor_id, status, amount, currency,
      description, amount_received, amount_refunded, payment_intent_id, created_by)
    select id, 'chg_1', 'cust_1', 'spon_1', 'succeeded', 500, 'EUR', 'Booth', 500, 100, 'pi_3', 'test' from c),
  a as (insert into payment_attempts (conference_id, charge_id, attempt, kind, state, params, session_id,
      payment_intent_id, failure_code, failure_message, requested_by)
    select c.id, 'chg_1', v.*, 'test' from c, (values
      (1, 'saved_card', 'failed', '{"description": "Booth", "currency": "EUR", "sponsorId": "spon_1",
        "statementDescriptorSuffix": null, "amount": 500, "named": "pm_1"}'::jsonb, null, 'pi_1',
        'card_declined', 'No.'),
      (2, 'checkout', 'expired', '{"description": "Booth", "currency": "EUR", "sponsorId": "spon_1",
        "statementDescriptorSuffix": null, "quantity": 1, "unitAmount": 500,
        "successUrl": "https://x.example/y", "cancelUrl": "https://x.example/n", "contactEmail": null,
        "expiresAt": null, "invoiceCreation": false, "taxIdCollection": false}'::jsonb, 'cs_2', null,
        null, null),
      (3, 'saved_card', 'paid', '{"description": "Booth", "currency": "EUR", "sponsorId": "spon_1",
        "statementDescriptorSuffix": null, "amount": 500, "named": null}'::jsonb, null, 'pi_3',
        null, null)) v),
  p as (insert into payments (conference_id, charge_id, payment_intent_id, attempt, status, amount,
      amount_received, currency)
    select c.id, 'chg_1', v.*, 'EUR' from c, (values
      ('pi_1', 1, 'canceled', 500, 0), ('pi_3', 3, 'succeeded', 500, 500)) v),
  r as (insert into payment_refunds (conference_id, charge_id, id, payment_intent_id, status, amount, currency)
    select id, 'chg_1', 're_1', 'pi_3', 'succeeded', 100, 'EUR' from c)
  insert into refund_requests (conference_id, charge_id, id, payment_intent_id, amount, state, refund_id,
      requested_by)
    select id, 'chg_1', 'chr_1', 'pi_3', 100, 'accepted', 're_1', 'test' from c`

describe('migrations', () => {
  it('roll back completely and migrate again to the same schema (D33)', async () => {
    const before = await tables()
    expect(before).toContain('bulk_purchases')
    await migrateDown(directUrl(database.connectionString))
    expect(await tables()).toEqual(['knex_migrations', 'knex_migrations_lock'])
    expect(await withDb(isSchemaCompatible)).toBe(false)
    await migrateToLatest(directUrl(database.connectionString))
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
    await migrateDown(directUrl(database.connectionString))
    expect(await tables()).not.toContain('payment_attempts')
    await migrateToLatest(directUrl(database.connectionString))
  })

  it('move the attempts and refunds of charges to the tables of purchases and back', async () => {
    await withDb(async (db) => {
      const { ref, run } = await openScene(db)
      await db.transaction(async (trx) => {
        await trx.raw(`select set_config('app.system_task', 'migrate', true)`)
        await trx.raw(CHARGES, { conference: ref.conferenceId })
        const rows = async () => {
          const found: unknown[][] = []
          for (const table of CHARGE_TABLES) found.push(await rowsOf(trx, table))
          return found
        }
        const before = await rows()
        await moveChargesBack(trx)
        const { rows: old } = await trx.raw(
          'select attempt, kind, state, params from charge_attempts order by attempt',
        )
        expect(old).toEqual([
          {
            attempt: 1,
            kind: 'payment_intent',
            state: 'canceled',
            params: { kind: 'payment_intent', paymentMethod: 'pm_1' },
          },
          {
            attempt: 2,
            kind: 'checkout',
            state: 'expired',
            params: {
              kind: 'checkout',
              urls: { successUrl: 'https://x.example/y', cancelUrl: 'https://x.example/n' },
            },
          },
          {
            attempt: 3,
            kind: 'payment_intent',
            state: 'succeeded',
            params: { kind: 'payment_intent', paymentMethod: null },
          },
        ])
        expect(await rowsOf(trx, 'payment_attempts')).toEqual([])
        await moveCharges(trx)
        expect(await rows()).toEqual(before)
      })
      // The purchase of the scene stays as it was.
      expect(await run((trx) => rowsOf(trx, 'payment_attempts', 'purchase_id'))).toHaveLength(1)
    })
  })

  it('may run in several processes at the same time', async () => {
    await migrateDown(directUrl(database.connectionString))
    await Promise.all([1, 2, 3].map(() => migrateToLatest(directUrl(database.connectionString))))
    expect(await withDb(isSchemaCompatible)).toBe(true)
  })

  it('ignore the lock of a killed migration', async () => {
    await withDb((db) => db('knex_migrations_lock').update({ is_locked: 1 }))
    await migrateToLatest(directUrl(database.connectionString))
    expect(await withDb((db) => db('knex_migrations_lock').pluck('is_locked'))).toEqual([0])
  })
})

describe('a migration of a table that is in use', () => {
  const added = (name: string, sql: string) => ({
    name,
    up: (knex: Tx) => knex.raw(sql),
    down: async () => {},
  })

  /** Ours, and then these. */
  async function addMigrations(...migrations: ReturnType<typeof added>[]): Promise<void> {
    const ours = await migrationSource.getMigrations([])
    // knex calls them with a transaction, although its type says any connection.
    const all = [...ours, ...(migrations as unknown as typeof ours)]
    vi.spyOn(migrationSource, 'getMigrations').mockResolvedValue(all)
  }

  it('gives way to requests while a transaction of somebody else has the table', async () => {
    await addMigrations(added('9001_new_column', 'alter table schema_version add column note text'))
    await withDb(async (db) => {
      const holder = await db.transaction()
      await holder('schema_version').first()
      const migrated = migrateToLatest(directUrl(database.connectionString))
      const isWaiting = async () => {
        const rows = await adminQuery<{ waiting: boolean }>(
          database.adminConnectionString,
          `select exists (select from pg_locks l join pg_class c on c.oid = l.relation
            where c.relname = 'schema_version' and not l.granted) as waiting`,
        )
        return rows[0]?.waiting
      }
      await expect.poll(isWaiting).toBe(true)
      // It stands behind the migration in the queue of the lock.
      expect(await db('schema_version').first()).toBeDefined()
      await holder.rollback()
      await migrated
      expect(await db('schema_version').first()).toHaveProperty('note', null)
    })
  })

  it('builds an index concurrently while other processes wait for the migration', async () => {
    const index = {
      ...added(
        '9004_index',
        'create index concurrently some_index on schema_version (minimum_service_schema)',
      ),
      config: { transaction: false },
    }
    await addMigrations(index)
    await Promise.all([1, 2, 3].map(() => migrateToLatest(directUrl(database.connectionString))))
    const rows = await adminQuery<{ valid: boolean }>(
      database.adminConnectionString,
      `select indisvalid as valid from pg_index where indexrelid = 'some_index'::regclass`,
    )
    expect(rows).toEqual([{ valid: true }])
  })

  it('names no table in "lock table" whose rows the service may not change: Postgres before 17 refuses', async () => {
    const { rows } = await withDb((db) =>
      db.raw<{ rows: { name: string }[] }>(
        `select relname as name from pg_class where relnamespace = 'public'::regnamespace
           and relkind in ('r', 'p') and not has_table_privilege(oid, 'update')`,
      ),
    )
    const unchangeable = rows.map(({ name }) => name)
    expect(unchangeable).toContain('recorded_payments')
    const folder = new URL('../../migrations/', import.meta.url)
    const texts = (await readdir(folder)).map((file) => readFileSync(new URL(file, folder), 'utf8'))
    const locked = texts.flatMap((text) =>
      Array.from(text.matchAll(/\block table ([\w\s,]+?) in /g), ([, tables = '']) =>
        tables.trim().split(/,\s*/),
      ),
    )
    expect(locked.flat()).toContain('bulk_purchases')
    expect(locked.flat().filter((table) => unchangeable.includes(table))).toEqual([])
  })

  it('locks no table of the migration before it', async () => {
    await addMigrations(
      added('9002_first', 'alter table schema_version add column first text'),
      added('9003_second', 'alter table no_such_table add column second text'),
    )
    await expect(migrateToLatest(directUrl(database.connectionString))).rejects.toThrow(
      'no_such_table',
    )
    // Its commit has released the table, so processes of the old release go on with it.
    await withDb(async (db) => {
      expect(await db('schema_version').first()).toHaveProperty('first')
    })
  })
})

describe('an upgrade from 0.1.0', () => {
  it.each([
    // What a request or a worker locks first and then needs.
    ['0076', 'bulk_purchases', 'row exclusive', 'payments'],
    ['0077', 'bulk_purchases', 'row exclusive', 'voucher_batches'],
    ['0082', 'stripe_events', 'row exclusive', 'webhook_deliveries'],
    ['0082', 'conferences', 'access share', 'stripe_events'],
    ['0083', 'bulk_purchases', 'row exclusive', 'payments'],
    ['0083', 'charges', 'row exclusive', 'payments'],
    ['0092', 'idempotency_keys', 'access share', 'conferences'],
  ])('migration %s that waits for %s (%s) has not locked %s', async (number, first, mode, then) => {
    const database = await createEmptyDatabase()
    onTestFinished(() => database.drop())
    const all = await migrationSource.getMigrations([])
    const migrations = vi.spyOn(migrationSource, 'getMigrations')
    const migrateTo = (count: number) => {
      migrations.mockResolvedValue(all.slice(0, count))
      return migrateToLatest(directUrl(database.connectionString))
    }
    const index = all.findIndex(({ name }) => name.startsWith(number))
    await migrateTo(index)
    // A partition with rows gets the foreign keys of its table.
    await adminQuery(
      database.adminConnectionString,
      `with c as (insert into conferences (id, slug, name, currency) values ('conf_1', 'c', 'C', 'EUR') returning id)
       insert into stripe_events (conference_id, id, type, livemode, body, source, created_at_stripe)
       select id, 'evt_1', 'charge.succeeded', false, '{}', 'webhook', now() from c`,
    )

    const db = connect(database.connectionString)
    onTestFinished(() => db.destroy())
    const request = await db.transaction()
    await request.raw(`lock table ${first} in ${mode} mode`)
    let isMigrated = false
    const migrated = migrateTo(index + 1).then(() => {
      isMigrated = true
    })
    const locks = () =>
      adminQuery<{ hasBoth: boolean }>(
        database.adminConnectionString,
        `select exists (select from pg_locks h where h.pid = w.pid and h.granted
            and h.relation = '${then}'::regclass and h.mode <> 'AccessShareLock') as "hasBoth"
          from pg_locks w where not w.granted and w.relation = '${first}'::regclass`,
      )
    const found = await vi.waitFor(async () => {
      const waiting = await locks()
      expect(waiting.length > 0 || isMigrated).toBe(true)
      return waiting
    }, POLL_OPTIONS)
    await request.rollback()
    await migrated
    for (const { hasBoth } of found) expect(hasBoth).toBe(false)
  })
})

describe('a schema that is newer than this service', () => {
  it('is compatible until its recorded minimum is higher than this release', async () => {
    await withDb(async (db) => {
      await db('knex_migrations').insert({ name: '9999_from_the_future', batch: 99 })
      await migrateToLatest(directUrl(database.connectionString))
      expect(await isSchemaCompatible(db)).toBe(true)
      await db('schema_version').update({ minimum_service_schema: 2 })
      expect(await isSchemaCompatible(db)).toBe(false)
    })
  })
})
