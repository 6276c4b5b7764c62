import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/db/embedded/start-embedded-postgres.ts'
import { discardScratchFolder, makeScratchFolder } from '../support/test-servers.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { type RunningService, useServices } from './run-service.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

let folder = ''
let server: EmbeddedPostgres | null = null
let url = ''
const start = useServices()

beforeAll(async () => {
  folder = await makeScratchFolder()
  return () => discardScratchFolder(folder)
})
beforeEach(up)
afterAll(down)

async function up(): Promise<void> {
  server ??= await startEmbeddedPostgres({ folder, durable: false })
  url = server.connectionString
}

async function down(): Promise<void> {
  await server?.stop()
  server = null
}

const env = () => ({ DATABASE_URL: url, MIGRATE_ON_START: 'true' })

const status = (service: RunningService, path: string) => async () =>
  (await service.get(path)).status

it('is not ready while the database is down, and recovers without help', async () => {
  // With this setting, it sweeps every second.
  const service = await start({ ...env(), RECONCILE_AFTER_SECONDS: '4' })
  await service.ready
  await expect.poll(() => service.get('/readyz')).toMatchObject({ status: 200 })
  await down()
  const unavailable = { status: 503, body: { code: 'database_unavailable' } }
  await expect.poll(() => service.get('/readyz')).toMatchObject(unavailable)
  expect(await service.get('/v1/conferences')).toMatchObject(unavailable)
  expect(await service.get('/livez')).toMatchObject({ status: 200 })
  const logged = (message: string) => () => service.log.filter(({ msg }) => msg === message).length
  await expect.poll(logged('failed and will be retried'), POLL_OPTIONS).toBeGreaterThan(0)
  await up()
  await expect.poll(status(service, '/readyz'), POLL_OPTIONS).toBe(200)
  await expect.poll(status(service, '/v1/conferences'), POLL_OPTIONS).toBe(200)
  // The worker has recovered too: the timer fires, and its jobs run.
  const before = await sweepsDone(service)
  await expect.poll(() => sweepsDone(service), POLL_OPTIONS).toBeGreaterThan(before)
  await expect.poll(logged('recovered'), POLL_OPTIONS).toBeGreaterThan(0)
})

async function sweepsDone(service: RunningService): Promise<number> {
  const text = await (await fetch(`${service.address}/metrics`)).text()
  const count =
    /job_duration_seconds_count\{job_name="sweep_purchases",outcome="done"\} (\d+)/.exec(text)
  return Number(count?.[1] ?? 0)
}

it('may be started before its database', async () => {
  await down()
  const service = await start(env())
  expect(await service.get('/livez')).toMatchObject({ status: 200 })
  expect(await service.get('/readyz')).toMatchObject({ status: 503 })
  await expect
    .poll(() => service.log.map((line) => line['waiting_for']))
    .toContainEqual(expect.stringMatching(/^the database: /))
  await up()
  await service.ready
  await expect.poll(() => service.get('/readyz')).toMatchObject({ status: 200 })
  expect(await service.get('/v1/conferences')).toMatchObject({ status: 200 })
})

it('stops in order while it waits for its database', async () => {
  await down()
  const service = await start(env())
  const waits = () => service.log.some(({ msg }) => msg === 'the database is not ready')
  await expect.poll(waits).toBe(true)
  expect(await service.stop()).toBe(true)
  await service.ready
  expect(service.log.map(({ msg }) => msg)).not.toContain('ready')
})
