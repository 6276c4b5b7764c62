import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  DAY,
  day,
  type SubscriptionAnswer,
  useSubscriptionScene,
} from '../billing/subscriptions/subscription-scene.ts'
import { useCommandLine } from './command-line.ts'

const scene = useSubscriptionScene()
const env: NodeJS.ProcessEnv = {}
const cli = useCommandLine(scene, env)

beforeEach(async () => {
  env['STRIPE_API_BASE'] = scene.fake.url
  // What another test left due is not this one's.
  await scene.rows('update subscriptions set end_date = null')
})
afterEach(() => scene.fake.control.clearFaults())

type Line = {
  id: string
  subscription: SubscriptionAnswer | null
  problem: { code: string } | null
}
type Lines = { data: Line[]; waiting: { id: string; conference: string }[] }

const due = async (): Promise<SubscriptionAnswer> =>
  scene.subscribe(await scene.payer(), { end_date: day(0) })

const failing = (method: 'GET' | 'POST', stripeId: string) =>
  scene.fake.control.injectFault({
    method,
    path: `/v1/subscriptions/${stripeId}`,
    times: 'always',
    action: { kind: 'cut' },
  })

const ending = (...more: string[]) => [
  'subscriptions:end',
  '--conference',
  scene.shop.conference,
  ...more,
]

describe('subscriptions:end', () => {
  it('F18: cancels due subscriptions at the end of their period, with a line for each', async () => {
    const [one, other] = [await due(), await due()]
    const { exitCode, stdout, stderr } = await cli.run(ending())
    expect(exitCode).toBe(0)
    expect(stderr).toContain(`1/2 ${one.id} active, ends `)
    expect(stderr).toContain(`2/2 ${other.id} active, ends `)
    expect(stdout).toContain(one.id)
    expect(await scene.get(one.id)).toMatchObject({
      status: 'active',
      cancel_at_period_end: true,
      cancel_requested_by: 'cli',
    })
    expect(await cli.run(ending())).toMatchObject({
      exitCode: 0,
      stdout: 'No subscription is due.\n',
    })
    scene.fake.control.clock.advance(32 * DAY)
    await scene.settle()
    expect(await scene.get(one.id)).toMatchObject({ status: 'canceled' })
  })

  it('cancels immediately with --now, by default in all conferences', async () => {
    const one = await due()
    const { data } = await cli.json<Lines>(['subscriptions:end', '--now'])
    expect(data).toMatchObject([{ id: one.id, subscription: { status: 'canceled' } }])
  })

  it('changes nothing with --dry-run and prints what is due', async () => {
    const { id } = await due()
    expect(await cli.json<Lines>(ending('--dry-run'))).toEqual({
      data: [],
      waiting: [{ id, conference: scene.shop.conference }],
    })
    expect((await cli.run(ending('--dry-run'))).stdout).toContain(`Due: ${id}`)
    expect(await scene.get(id)).toMatchObject({ cancel_at_period_end: false })
  })

  it('continues after a failure, reports it, and exits with 1', async () => {
    const [first, broken, last] = [await due(), await due(), await due()]
    failing('POST', broken.stripe_subscription)
    const { exitCode, stdout, stderr } = await cli.run([...ending(), '--json'])
    expect(exitCode).toBe(1)
    const { data } = JSON.parse(stdout) as Lines
    expect(data).toMatchObject([
      { id: first.id, problem: null },
      { id: broken.id, subscription: null, problem: { code: 'stripe_unavailable' } },
      { id: last.id, problem: null },
    ])
    expect(JSON.parse(stderr)).toMatchObject({
      code: 'stripe_failed',
      detail: '1 of 3 subscriptions could not be ended.',
    })
    expect(await scene.get(last.id)).toMatchObject({ cancel_at_period_end: true })
    const text = await cli.run(ending())
    expect(text).toMatchObject({ exitCode: 1 })
    expect(text.stdout).toMatch(/stripe_unavailable/)
    scene.fake.control.clearFaults()
    expect(await cli.run(ending())).toMatchObject({ exitCode: 0 })
  })

  it('is safe if two run at the same time', async () => {
    const made = [await due(), await due()]
    const both = await Promise.all([cli.run(ending('--now')), cli.run(ending('--now'))])
    expect(both.map(({ exitCode }) => exitCode)).toEqual([0, 0])
    for (const { id } of made) expect(await scene.get(id)).toMatchObject({ status: 'canceled' })
  })

  it('stops between two subscriptions when it is interrupted', async () => {
    const { id } = await due()
    const stopped = AbortSignal.abort()
    expect(await cli.run(ending(), { signal: stopped })).toMatchObject({ exitCode: 130 })
    expect(await scene.get(id)).toMatchObject({ cancel_at_period_end: false })
  })
})

describe('subscriptions:refresh', () => {
  const refreshing = (...more: string[]) => [
    'subscriptions:refresh',
    '--conference',
    scene.shop.conference,
    ...more,
  ]

  it('reads subscriptions that have not ended, and named ones', async () => {
    const [changed, ended] = [await due(), await due()]
    await scene.act(ended.id, 'cancel')
    // Without a webhook having been worked on.
    await scene.dashboard.subscriptions.update(changed.stripe_subscription, {
      cancel_at_period_end: true,
    })
    const { data } = await cli.json<Lines>(refreshing())
    const ids = data.map(({ id }) => id)
    expect(ids).toContain(changed.id)
    expect(ids).not.toContain(ended.id)
    expect(await scene.get(changed.id)).toMatchObject({ cancel_at_period_end: true })
    const named = await cli.run(refreshing('--ids', `${ended.id}, ${changed.id}`))
    expect(named).toMatchObject({ exitCode: 0 })
    expect(named.stderr).toContain(`1/2 ${ended.id} canceled`)
    expect(named.stderr).toContain(`2/2 ${changed.id} active, ends `)
  })

  it('creates a subscription at Stripe whose creation had an unknown outcome', async () => {
    const payer = await scene.payer()
    scene.fake.control.injectFault({
      method: 'POST',
      path: '/v1/subscriptions',
      times: 'always',
      action: { kind: 'fail_after' },
    })
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    expect(await scene.ask(body)).toMatchObject({ status: 503 })
    scene.fake.control.clearFaults()
    await cli.json(refreshing())
    const list = await scene.request<{ data: SubscriptionAnswer[] }>(
      'GET',
      `${scene.shop.path}/subscriptions?customer=${payer.customer}`,
    )
    expect(list.body.data).toMatchObject([{ state: 'created', status: 'active' }])
    expect(await scene.atStripe(payer)).toHaveLength(1)
  })

  it('exits with 1 if one cannot be read, after the others', async () => {
    const [broken, good] = [await due(), await due()]
    failing('GET', broken.stripe_subscription)
    const { exitCode, stdout } = await cli.run(
      refreshing('--ids', `${broken.id},${good.id}`, '--json'),
    )
    expect(exitCode).toBe(1)
    expect((JSON.parse(stdout) as Lines).data).toMatchObject([
      { id: broken.id, problem: { code: 'stripe_unavailable' } },
      { id: good.id, problem: null },
    ])
  })

  it('does not find an unknown subscription', async () => {
    expect(await cli.run(refreshing('--ids', 'subs_none'))).toMatchObject({ exitCode: 1 })
  })
})
