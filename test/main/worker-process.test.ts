import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { createConference } from '../support/fixtures.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { OPERATOR_KEY, useTestApp } from '../support/test-app.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { useStubStripe } from './stub-stripe.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const LEASE_SECONDS = 6

const app = useTestApp()
const stripe = useStubStripe()
useServiceProcesses()

beforeAll(() => createConference(app))
afterAll(() => stripe.release())

/** A worker. Its timer that lists Stripe's events is due now, and then not for a day. */
async function startWorking(env: NodeJS.ProcessEnv = {}): Promise<ServiceProcess> {
  const working = await startServiceProcess({
    DATABASE_URL: app.connectionString,
    STRIPE_API_BASE: stripe.url,
    RUN: 'work',
    LEASE_SECONDS: String(LEASE_SECONDS),
    MISSED_EVENTS_EVERY_SECONDS: '86400',
    ...env,
  })
  await working.ready()
  return working
}

/** A job in another process, which waits for Stripe's response. */
async function holdJob(env: NodeJS.ProcessEnv = {}): Promise<ServiceProcess> {
  stripe.hold()
  const asked = stripe.eventLists
  await app.db('timers').where({ name: 'find_missed_events' }).delete()
  const working = await startWorking(env)
  await expect.poll(() => stripe.eventLists, POLL_OPTIONS).toBe(asked + 1)
  return working
}

const jobs = () =>
  app
    .db('graphile_worker.jobs')
    .where({ task_identifier: 'find_missed_events' })
    .select<{ attempts: number; locked_by: string | null; last_error: string | null }[]>(
      'attempts',
      'locked_by',
      'last_error',
    )

let replacement: ServiceProcess

it('takes over the work of a killed process when its lease ends', async () => {
  const doomed = await holdJob()
  replacement = await startWorking()
  const asked = stripe.eventLists
  await doomed.kill()
  // graphile-worker itself would keep the lock of a dead worker for four hours.
  await expect.poll(() => stripe.eventLists, POLL_OPTIONS).toBe(asked + 1)
  expect(replacement.output()).toContain('released the jobs of dead workers')
})

it('serves its probes and metrics if a setting names a port, and nothing else', async () => {
  const working = await startWorking({ METRICS_PORT: '0', METRICS_TOKEN: 'a-token-of-prometheus' })
  const get = (path: string, as: string | null = null) =>
    fetch(`${working.url}${path}`, {
      headers: as === null ? {} : { authorization: `Bearer ${as}` },
    })
  expect((await get('/livez')).status).toBe(200)
  expect((await get('/readyz')).status).toBe(200)
  expect((await get('/metrics')).status).toBe(401)
  const metrics = await (await get('/metrics', 'a-token-of-prometheus')).text()
  for (const line of [
    '# TYPE sponsor_vouchers_job_duration_seconds histogram',
    'sponsor_vouchers_stripe_events_handled_total{outcome="done"} 0',
    'sponsor_vouchers_database_up 1',
  ]) {
    expect(metrics).toContain(`${line}\n`)
  }
  expect((await get('/v1/conferences', OPERATOR_KEY)).status).toBe(404)
  expect(await working.terminate()).toBe(0)
})

it('finishes its work on SIGTERM and exits with 0', async () => {
  const exit = replacement.terminate()
  await expect.poll(() => replacement.output(), POLL_OPTIONS).toContain('"msg":"stopping"')
  expect(await jobs()).toMatchObject([{ attempts: 2, locked_by: expect.stringMatching(/^pool-/) }])
  stripe.release()
  expect(await exit).toBe(0)
  expect(replacement.output()).toContain('"msg":"stopped"')
  expect(await jobs()).toEqual([])
  expect(await app.db('processes').select('id')).toEqual([])
})

it('releases work that does not end in time after SIGTERM, and exits with another code', async () => {
  const working = await holdJob({ SHUTDOWN_SECONDS: '3' })
  expect(await working.terminate()).toBe(1)
  expect(working.output()).toContain('jobs did not end in time and are released')
  expect(await jobs()).toMatchObject([
    { locked_by: null, last_error: 'The process stopped before the job ended' },
  ])
  stripe.release()
})

it('exits on a second signal without waiting for its work', async () => {
  // Much longer than this test may take.
  const working = await holdJob({ SHUTDOWN_SECONDS: '3600' })
  const exit = working.terminate()
  await expect.poll(() => working.output(), POLL_OPTIONS).toContain('"msg":"stopping"')
  void working.terminate()
  expect(await exit).toBe(1)
  expect(working.output()).toContain('second signal: exiting immediately')
  stripe.release()
})
