import pg from 'pg'
import { beforeAll, expect, it } from 'vitest'
import { useServices } from '../main/run-service.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { expectMirrored, readsOf, storedRow } from './expect-mirrored.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

// A lock of this test stops the worker at one statement. Then the test kills it with SIGKILL.

useServiceProcesses()
const scene = useSyncScene()

let shop: WiredShop
let id: string
beforeAll(async () => {
  shop = await scene.openWiredShop()
})

const startHere = useServices()
const worker = (leaseSeconds: number) => ({
  DATABASE_URL: scene.connectionString,
  STRIPE_API_BASE: scene.fake.url,
  RUN: 'work',
  LEASE_SECONDS: String(leaseSeconds),
})
const startWorker = (leaseSeconds: number) => startServiceProcess(worker(leaseSeconds))

async function hold(sql: string, parameters: unknown[] = []) {
  const client = new pg.Client({ connectionString: scene.connectionString })
  // After a failed test, dropping the database ends this connection.
  client.on('error', () => {})
  await client.connect()
  await client.query('begin')
  await client.query(`select set_config('app.system_task', 'claim-events', true)`)
  await client.query(sql, parameters)
  return { release: () => client.end() }
}

/** Waits until a statement like this waits for the lock of this test. */
const waitsFor = (statement: string) =>
  expect
    .poll(
      () =>
        scene.rows(
          `select pid from pg_stat_activity where datname = current_database()
             and wait_event_type = 'Lock' and query ilike $1`,
          [statement],
        ),
      POLL_OPTIONS,
    )
    .not.toEqual([])

async function newCustomer() {
  const customer = await scene.stripeOf(shop).customers.create({ name: 'Ada' })
  id = customer.id
  await scene.fake.control.waitForDeliveries()
}

const eventOfCustomer = async () =>
  (await scene.events(shop)).find(({ object_id }) => object_id === id)

async function expectDoneByAnother() {
  await expect.poll(async () => (await eventOfCustomer())?.status, POLL_OPTIONS).toBe('done')
  expect((await eventOfCustomer())?.attempts).toBe(2)
  await expectMirrored(scene, shop, 'customers', id)
}

// The one that does what a killed one left, in the first test.
let survivor: ServiceProcess

it('if a worker dies after a fetch, another one fetches the object again', async () => {
  await newCustomer()
  const lock = await hold('lock table stripe.customers in share mode')
  const doomed = await startWorker(2)
  await waitsFor('with given as (%row_values%')
  await doomed.kill()
  // Postgres has not noticed the death yet and would still execute the statement.
  await scene.rows(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock'`,
  )
  await lock.release()
  expect(await storedRow(scene, shop, 'customers', id)).toBeUndefined()
  survivor = await startWorker(600)
  await expectDoneByAnother()
  expect(readsOf(scene, `/v1/customers/${id}`)).toBe(3) // the last is this test's own
})

it('if a worker dies before it closes the event, another one closes it without a fetch', async () => {
  const writing = await hold('lock table stripe.customers in share mode')
  // Its lease is long: a renewal would also wait for the second lock.
  await newCustomer()
  await waitsFor('with given as (%row_values%')
  const closing = await hold('select from stripe_events where object_id = $1 for update', [id])
  await writing.release()
  await waitsFor('%"stripe_events"%for update%')
  await survivor.kill()
  await closing.release()
  expect(await storedRow(scene, shop, 'customers', id)).toMatchObject({ name: 'Ada' })
  expect(await eventOfCustomer()).toMatchObject({ status: 'pending', attempts: 1 })
  expect(readsOf(scene, `/v1/customers/${id}`)).toBe(1)
  await scene.makeDue()
  const next = await startHere(worker(2))
  await expectDoneByAnother()
  expect(await next.stop()).toBe(true)
  expect(readsOf(scene, `/v1/customers/${id}`)).toBe(2) // this test's own
})
