import { afterEach, beforeEach, expect, it } from 'vitest'
import {
  dueSubscriptions,
  type EndResult,
  endDueSubscriptions,
  endSubscriptions,
} from '../../../src/billing/subscriptions/end-subscriptions.ts'
import { withSystem, withTenant } from '../../../src/db/tenant-scope.ts'
import { databaseNow } from '../../../src/mirror/fetch-time.ts'
import { StripeSubscriptionAction } from '../../../src/mirror/resources/subscription-resource.ts'
import { serviceTimers } from '../../../src/worker.ts'
import { DAY, day, type SubscriptionAnswer, useSubscriptionScene } from './subscription-scene.ts'

const scene = useSubscriptionScene()

// Removes due subscriptions of earlier tests.
beforeEach(() => scene.rows('update subscriptions set end_date = null'))
afterEach(() => scene.fake.control.clearFaults())

const due = async (card?: string): Promise<SubscriptionAnswer> =>
  scene.subscribe(await scene.payer(card), { end_date: day(0) })

const end = (options: { now?: boolean; signal?: AbortSignal } = {}) =>
  endSubscriptions(scene.deps, {
    conferenceId: scene.shop.conference,
    now: options.now ?? false,
    by: 'a test',
    signal: options.signal ?? new AbortController().signal,
  })

const idsOf = (ended: readonly EndResult[]) => ended.map(({ id }) => id).toSorted()

const failing = (stripeId: string) =>
  scene.fake.control.injectFault({
    method: 'POST',
    path: `/v1/subscriptions/${stripeId}`,
    times: 'always',
    action: { kind: 'cut' },
  })

it('cancels due subscriptions at the end of their periods, and no others', async () => {
  const today = await due()
  const overdue = await due()
  await scene.rows(`update subscriptions set end_date = end_date - 3 where id = $1`, [overdue.id])
  const tomorrow = await scene.subscribe(await scene.payer(), { end_date: day(1) })
  const endless = await scene.subscribe(await scene.payer())
  const ended = await end()
  expect(ended.map(({ id }) => id)).toEqual([overdue.id, today.id])
  for (const { id } of [today, overdue]) {
    expect(await scene.get(id)).toMatchObject({
      status: 'active',
      cancel_at_period_end: true,
      cancel_requested_by: 'a test',
    })
  }
  for (const { id } of [tomorrow, endless]) {
    expect(await scene.get(id)).toMatchObject({ cancel_at_period_end: false })
  }
  expect(await end()).toEqual([])
  scene.fake.control.clock.advance(32 * DAY)
  await scene.settle()
  expect(await scene.get(today.id)).toMatchObject({ status: 'canceled' })
})

it('cancels them now with `now`, also those that end with their period', async () => {
  const [one, other] = [await due(), await due()]
  await scene.act(one.id, 'cancel', { at_period_end: true })
  expect(idsOf(await end({ now: true }))).toEqual([one.id, other.id].toSorted())
  for (const { id } of [one, other]) {
    expect(await scene.get(id)).toMatchObject({ status: 'canceled' })
  }
  expect(await end({ now: true })).toEqual([])
})

it('F18: cancels subscriptions in trial, past due, unpaid and incomplete as well', async () => {
  const plan = await scene.plan({ trial_period_days: 10 })
  const trying = await scene.subscribe(await scene.payer(), {
    items: [{ plan }],
    end_date: day(0),
  })
  const incomplete = await due('pm_card_chargeCustomerFail')
  const late = await Promise.all(
    (['past_due', 'unpaid', 'paused'] as const).map(async (status) => {
      const made = await due()
      const readAt = await databaseNow(scene.db)
      const now = await scene.dashboard.subscriptions.retrieve(made.stripe_subscription)
      const action = new StripeSubscriptionAction(scene.context(scene.shop))
      await action.sync({ ...now, status }, readAt)
      return made
    }),
  )
  const ended = await end()
  expect(idsOf(ended)).toEqual([trying, incomplete, ...late].map(({ id }) => id).toSorted())
  expect(ended.filter((one) => 'error' in one)).toEqual([])
  expect(await scene.get(trying.id)).toMatchObject({
    status: 'trialing',
    cancel_at_period_end: true,
  })
  expect(await scene.get(incomplete.id)).toMatchObject({ status: 'canceled' })
})

it('continues after a failure and retries that subscription in the next run', async () => {
  const [first, broken, last] = [await due(), await due(), await due()]
  failing(broken.stripe_subscription)
  const ended = await end()
  expect(ended).toHaveLength(3)
  expect(ended.filter((one) => 'error' in one).map(({ id }) => id)).toEqual([broken.id])
  for (const { id } of [first, last]) {
    expect(await scene.get(id)).toMatchObject({ cancel_at_period_end: true })
  }
  expect(await scene.get(broken.id)).toMatchObject({
    status: 'active',
    cancel_at_period_end: false,
  })
  scene.fake.control.clearFaults()
  expect(idsOf(await end())).toEqual([broken.id])
  expect(await scene.get(broken.id)).toMatchObject({ cancel_at_period_end: true })
})

it('may run twice at the same time', async () => {
  const made = [await due(), await due()]
  const both = await Promise.all([end({ now: true }), end({ now: true })])
  expect(both.flat().filter((one) => 'error' in one)).toEqual([])
  for (const { id } of made) expect(await scene.get(id)).toMatchObject({ status: 'canceled' })
})

it('accepts a subscription that has ended at Stripe without an event', async () => {
  const made = await due()
  await scene.dashboard.subscriptions.cancel(made.stripe_subscription)
  expect(await end()).toMatchObject([{ subscription: { snapshot: { status: 'canceled' } } }])
})

it.each(['Pacific/Kiritimati', 'Etc/GMT+12'])(
  'F19: an end date is a day in UTC, also for a database in %s',
  async (zone) => {
    const today = await due()
    await scene.subscribe(await scene.payer(), { end_date: day(1) })
    const { conference: conferenceId } = scene.shop
    const ids = await withTenant(scene.db, { conferenceId }, async (trx) => {
      await trx.raw(`select set_config('timezone', ?, true)`, [zone])
      return dueSubscriptions(trx, { conferenceId, now: false })
    })
    expect(ids).toEqual([today.id])
  },
)

it('stops between two subscriptions when it is aborted', async () => {
  await due()
  const stopped = new AbortController()
  stopped.abort()
  expect(await end({ signal: stopped.signal })).toEqual([])
})

it('runs as a job, which fails visibly and is retried', async () => {
  const [made, broken] = [await due(), await due()]
  failing(broken.stripe_subscription)
  const run = () =>
    endDueSubscriptions(scene.deps, scene.shop.conference, new AbortController().signal)
  await expect(run()).rejects.toThrow('1 of 2 subscriptions could not be cancelled')
  expect(scene.log.join('')).toContain(broken.id)
  expect(await scene.get(made.id)).toMatchObject({
    cancel_at_period_end: true,
    cancel_requested_by: 'end_subscriptions',
  })
  scene.fake.control.clearFaults()
  await run()
  expect(await scene.get(broken.id)).toMatchObject({ cancel_at_period_end: true })
})

it('gets a job from the timer only in conferences with due subscriptions', async () => {
  const settings = {
    leaseSeconds: 60,
    reconcileAfterSeconds: 120,
    missedEventsEverySeconds: 300,
    stripeSyncEverySeconds: null,
  }
  const timers = serviceTimers(settings, scene.deps.logger)
  const timer = timers.find(({ name }) => name === 'end_subscriptions')
  expect(timer?.everySeconds).toBe(3_600)
  const key = `end_subscriptions:${scene.shop.conference}`
  const fire = async () => {
    await withSystem(scene.db, 'timers', async (trx) => timer?.fire(trx))
    const jobs = await scene.rows<{ key: string }>(
      `select key from graphile_worker.jobs where key like 'end_subscriptions:%'`,
    )
    await scene.rows('select graphile_worker.remove_job($1)', [key])
    return jobs.map((job) => job.key)
  }
  expect(await fire()).toEqual([])
  const made = await due()
  expect(await fire()).toEqual([key])
  await scene.act(made.id, 'cancel', { at_period_end: true })
  expect(await fire()).toEqual([])
})
