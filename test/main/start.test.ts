import { expect, it, vi } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { migrateDown, migrateToLatest } from '../../src/db/migrations.ts'
import { withSystem } from '../../src/db/tenant-scope.ts'
import { StartupError } from '../../src/shared/errors.ts'
import { assertLiveModeAllowed } from '../../src/start-service.ts'
import { createConference } from '../support/fixtures.ts'
import { OPERATOR_KEY, startTestProcess } from '../support/test-app.ts'
import { adminQuery, directUrl } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { useServices } from './run-service.ts'
import { useStubStripe } from './stub-stripe.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const database = useTestDatabase()
const start = useServices()
const stripe = useStubStripe()

const withMigrations = (more: NodeJS.ProcessEnv = {}) => ({
  DATABASE_URL: database.connectionString,
  MIGRATE_ON_START: 'true',
  ...more,
})

async function withDb<T>(work: (db: Db) => Promise<T>): Promise<T> {
  const db = connect(database.connectionString)
  try {
    return await work(db)
  } finally {
    await db.destroy()
  }
}

it('answers 503 until the schema is migrated, and then serves', async () => {
  await migrateDown(directUrl(database.connectionString))
  const service = await start(withMigrations({ MIGRATE_ON_START: 'false' }))
  const notReady = { status: 503, body: { code: 'not_ready' } }
  expect(await service.get('/livez')).toMatchObject({ status: 200 })
  expect(await service.get('/readyz')).toMatchObject(notReady)
  expect(await service.get('/v1/conferences')).toMatchObject(notReady)
  await expect
    .poll(() => service.log.map((line) => line['waiting_for']))
    .toContain(
      'the schema of this release: run `sponsor-vouchers migrate` (in a checkout: `npm run migrate`)',
    )
  await migrateToLatest(directUrl(database.connectionString))
  await service.ready
  await expect.poll(() => service.get('/readyz')).toMatchObject({ status: 200 })
  expect(await service.get('/v1/conferences')).toMatchObject({ status: 200 })
})

it('lets several processes migrate an empty database at the same time', async () => {
  await migrateDown(directUrl(database.connectionString))
  const services = await Promise.all([1, 2, 3].map(() => start(withMigrations({ RUN: 'serve' }))))
  await Promise.all(services.map(({ ready }) => ready))
  for (const service of services) {
    await expect.poll(() => service.get('/readyz')).toMatchObject({ status: 200 })
  }
})

it('serves while another process works', async () => {
  const env = withMigrations({ STRIPE_API_BASE: stripe.url })
  const serving = await start({ ...env, RUN: 'serve' })
  await serving.ready
  const app = await startTestProcess(database.connectionString)
  try {
    const { path } = await createConference(app)
    const account = () =>
      withSystem(app.db, 'manage-conferences', (trx) => trx('conferences').pluck('stripe_account'))
    // No worker runs yet, so the job that finds the account waits.
    expect(await account()).toEqual([null])
    const working = await start({ ...env, RUN: 'work' })
    expect(working.address).toBeNull()
    await working.ready
    await expect.poll(account, POLL_OPTIONS).toEqual(['acct_stub'])
    expect(await serving.get(path)).toMatchObject({ status: 200 })
    const roles = () => app.db('processes').orderBy('role').pluck('role')
    await expect.poll(roles).toEqual(['serve', 'work'])
    await Promise.all([serving.stop(), working.stop()])
    expect(await roles()).toEqual([])
  } finally {
    await app.close()
  }
})

it('A process with another ENCRYPTION_KEY refuses to start and names the setting (issue 8, line 25)', async () => {
  const first = await start(withMigrations({ RUN: 'serve' }))
  await first.ready
  const other = Buffer.alloc(32, 9).toString('base64')
  const wrong = await start(withMigrations({ RUN: 'serve', ENCRYPTION_KEY: other }))
  await expect(wrong.ready).rejects.toThrow(/^ENCRYPTION_KEY is not the key/)
  const same = await start(withMigrations({ RUN: 'serve' }))
  await same.ready
})

it('refuses a schema that is incompatible', async () => {
  const db = connect(database.connectionString)
  try {
    await migrateToLatest(directUrl(database.connectionString))
    await db('schema_version').update({ minimum_service_schema: 1_000 })
    const service = await start(withMigrations())
    await expect(service.ready).rejects.toThrow(/schema of a newer release/)
    await expect(service.ready).rejects.toBeInstanceOf(StartupError)
  } finally {
    await db('schema_version').update({ minimum_service_schema: 1 })
    await db.destroy()
  }
})

it('refuses a role without row security in production, and warns elsewhere', async () => {
  const admin = { DATABASE_URL: database.adminConnectionString }
  const production = await start({
    ...withMigrations(admin),
    NODE_ENV: 'production',
    STRIPE_API_BASE: '',
  })
  await expect(production.ready).rejects.toThrow(/is a (superuser|BYPASSRLS role)/)
  expect(await production.get('/v1/conferences')).toMatchObject({ status: 503 })
  const elsewhere = await start(withMigrations({ ...admin, RUN: 'serve' }))
  await elsewhere.ready
  expect(elsewhere.log.map(({ msg }) => msg)).toContainEqual(
    expect.stringMatching(/(superuser|BYPASSRLS).*row security/),
  )
})

it('refuses a live key with a stand-in for Stripe, or in the embedded database', async () => {
  const live = { conference: 'conf_live' }
  await adminQuery(
    database.adminConnectionString,
    `insert into conferences (id, slug, name, currency, livemode, stripe_secret_key_sealed,
         stripe_secret_key_last4, stripe_key_set_at)
       values ($1, 'big-one', 'Big one', 'EUR', true, 'x', 'last', now())`,
    [live.conference],
  )
  try {
    const service = await start(withMigrations())
    await expect(service.ready).rejects.toThrow(
      /big-one has a live Stripe key: remove STRIPE_API_BASE/,
    )
    const embedded = (embeddedAllowed: boolean) =>
      withDb((db) => assertLiveModeAllowed(db, { embeddedAllowed, stripeApiBase: null }, true))
    await expect(embedded(false)).rejects.toThrow(/big-one has a live Stripe key: set DATABASE_URL/)
    await embedded(true)
    const proper = await start(withMigrations({ RUN: 'serve', STRIPE_API_BASE: '' }))
    await proper.ready
    expect(await proper.get('/v1/conferences', OPERATOR_KEY)).toMatchObject({ status: 200 })
  } finally {
    // The audit log keeps a conference from being deleted.
    await adminQuery(
      database.adminConnectionString,
      `update conferences set livemode = false where id = $1`,
      [live.conference],
    )
  }
})

it('says what to do when its port is in use', async () => {
  const service = await start(withMigrations({ RUN: 'serve' }))
  const { port } = new URL(service.address ?? '')
  await expect(start(withMigrations({ PORT: port }))).rejects.toThrow(
    `Port ${port} of 127.0.0.1 is in use. Stop the process that uses it, or set PORT to another port.`,
  )
})
