import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { createConference } from '../support/fixtures.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { useTestApp } from '../support/test-app.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { useStubStripe } from './stub-stripe.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const LEASE_SECONDS = 6

const app = useTestApp()
const stripe = useStubStripe()
useServiceProcesses()

beforeAll(() => createConference(app))
afterAll(() => stripe.release())

/** A working process; the timer that asks Stripe for events is due, and then not for a day. */
async function startWorking(env: NodeJS.ProcessEnv = {}): Promise<ServiceProcess> {
  const working = await startServiceProcess({
    DATABASE_URL: app.connectionString,
    STRIPE_API_BASE: stripe.url,
    RUN: 'work',
    LEASE_SECONDS: String(LEASE_SECONDS),
    MISSED_EVENTS_EVERY_SECONDS: '86400',
    ...env,
  })
  await expect.poll(() => working.output(), POLL_OPTIONS).toContain('"msg":"ready"')
  return working
}

/** A job that asks Stripe, which does not answer, in the hands of a process of its own. */
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

it('takes over what a killed process held, within its lease', async () => {
  const doomed = await holdJob()
  const heir = await startWorking()
  const asked = stripe.eventLists
  await doomed.kill()
  const killedAt = performance.now()
  await expect.poll(() => stripe.eventLists, POLL_OPTIONS).toBe(asked + 1)
  expect(performance.now() - killedAt).toBeLessThan(LEASE_SECONDS * 1000)
  expect(heir.output()).toContain('took over the jobs of dead workers')
  stripe.release()
  await expect.poll(jobs, POLL_OPTIONS).toEqual([])
  expect(await heir.terminate()).toBe(0)
  expect(await app.db('processes').select('id')).toEqual([])
})

it('finishes what it holds on SIGTERM and exits with 0', async () => {
  const working = await holdJob()
  const exit = working.terminate()
  await expect.poll(() => working.output(), POLL_OPTIONS).toContain('"msg":"stopping"')
  expect(await jobs()).toMatchObject([{ attempts: 1, locked_by: expect.stringMatching(/^pool-/) }])
  stripe.release()
  expect(await exit).toBe(0)
  expect(working.output()).toContain('"msg":"stopped"')
  expect(await jobs()).toEqual([])
  expect(await app.db('processes').select('id')).toEqual([])
})

it('gives back on SIGTERM what does not end in time, and says so by its exit code', async () => {
  const working = await holdJob({ SHUTDOWN_SECONDS: '3' })
  expect(await working.terminate()).toBe(1)
  expect(working.output()).toContain('jobs did not end in time and are given back')
  expect(await jobs()).toMatchObject([
    { locked_by: null, last_error: 'The process stopped before the job ended' },
  ])
  stripe.release()
})

it('exits at once on a second signal', async () => {
  const working = await holdJob({ SHUTDOWN_SECONDS: '60' })
  const exit = working.terminate()
  await expect.poll(() => working.output(), POLL_OPTIONS).toContain('"msg":"stopping"')
  const askedAt = performance.now()
  void working.terminate()
  expect(await exit).toBe(1)
  expect(performance.now() - askedAt).toBeLessThan(10_000)
  expect(working.output()).toContain('second signal: exiting at once')
  stripe.release()
})
