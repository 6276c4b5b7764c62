import { beforeAll, expect, it } from 'vitest'
import { openShop, type Shop } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

const creating = (...more: string[]) =>
  `plans:create --conference ${shop.conference} --name Booth --amount 25000 --interval month`
    .split(' ')
    .concat(more)

it('creates a plan like the API, and lists it', async () => {
  const more = ['--every', '3', '--trial-days', '30', '--metadata', 'hall=B', 'row=a=1']
  const plan = await cli.json<Body>(creating(...more))
  expect(plan).toMatchObject({
    state: 'created',
    interval_count: 3,
    trial_period_days: 30,
    metadata: { hall: 'B', row: 'a=1' },
    created_by: 'cli',
  })
  expect((await app.request('GET', `${shop.path}/plans/${String(plan['id'])}`)).body).toEqual(plan)
  const text = await cli.run(['plans:list', '--conference', shop.conference])
  expect(text).toMatchObject({ exitCode: 0 })
  expect(text.stdout).toMatch(/Booth +250\.00 EUR every 3 months +30 +active/)
})

it('lists plans for new subscriptions, or the other plans', async () => {
  const { id } = await cli.json<{ id: string }>(creating())
  await app.request('PATCH', `${shop.path}/plans/${id}`, { body: { active: false } })
  const ids = async (...flags: string[]) => {
    const args = ['plans:list', '--conference', shop.conference, ...flags]
    return (await cli.json<{ data: { id: string }[] }>(args)).data.map((plan) => plan.id)
  }
  expect(await ids('--active')).not.toContain(id)
  expect(await ids('--no-active')).toEqual([id])
  expect(await ids()).toEqual(expect.arrayContaining([id, ...(await ids('--active'))]))
})

it.each([
  [['--every', '37'], 1, 'three years'],
  [['--every', 'many'], 2, '--every'],
  [['--trial-days', '-1'], 2, '--trial-days'],
  [['--metadata', 'hall'], 2, 'name=value'],
] as const)('refuses %o', async (flags, exitCode, message) => {
  const ran = await cli.run(creating(...flags))
  expect(ran).toMatchObject({ exitCode, stdout: '' })
  expect(ran.stderr).toContain(message)
})

it('exits with 1 if Stripe does not answer, and leaves the plan requested', async () => {
  const other = await openShop(app)
  stripe.fake.control.injectFault({
    path: '/v1/products',
    times: 'always',
    action: { kind: 'cut' },
  })
  const args = creating().map((part) => (part === shop.conference ? other.conference : part))
  expect(await cli.run(args)).toMatchObject({ exitCode: 1 })
  stripe.fake.control.clearFaults()
  const { stdout } = await cli.run(['plans:list', '--conference', other.conference])
  expect(stdout).toMatch(/Booth .* requested/)
})
