import Stripe from 'stripe'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { unique } from '../support/fixtures.ts'
import { openShop, type Shop } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe({ STRIPE_REQUESTS_PER_SECOND: '0' })
afterEach(() => stripe.fake.control.clearFaults())

const at = (shop: Shop) => ['--conference', shop.conference]
const newId = () => unique('COUPON')

function dashboard(shop: Shop): Stripe {
  const { hostname, port } = new URL(stripe.fake.url)
  return new Stripe(shop.stripeKey, { host: hostname, port: Number(port), protocol: 'http' })
}

const list = async (shop: Shop, ...more: string[]) =>
  (await cli.json<{ data: Body[] }>(['coupons:list', ...at(shop), ...more])).data

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

describe('coupons:create, coupons:list and coupons:delete', () => {
  it('create a coupon at Stripe, show it, and delete it there', async () => {
    const id = newId()
    const discount = ['--id', id, '--amount-off', '1000', '--currency', 'eur']
    const duration = ['--duration', 'repeating', '--months', '3', '--metadata', 'campaign=spring']
    const made = await cli.json<Body>(['coupons:create', ...at(shop), ...discount, ...duration])
    expect(made).toMatchObject({ id, amount_off: 1_000, duration_in_months: 3 })
    expect(made['metadata']).toMatchObject({ campaign: 'spring' })
    expect(await dashboard(shop).coupons.retrieve(id)).toMatchObject({ amount_off: 1_000 })
    expect((await list(shop, '--valid')).map((coupon) => coupon['id'])).toContain(id)
    const { stdout } = await cli.run(['coupons:list', ...at(shop)])
    expect(stdout).toMatch(new RegExp(`${id} .*10\\.00 EUR +3 months +0 .*valid`))
    expect(await cli.run(['coupons:delete', id, ...at(shop)])).toMatchObject({
      exitCode: 0,
      stdout: `Deleted ${id}.\n`,
    })
    expect((await list(shop)).map((coupon) => coupon['id'])).not.toContain(id)
    const all = await list(shop, '--include-deleted')
    expect(all.find((coupon) => coupon['id'] === id)).toMatchObject({
      deleted_at: expect.any(String),
    })
  })

  it('F20: record the command line as the actor', async () => {
    const { id } = await cli.json<Body>(['coupons:create', ...at(shop), '--percent-off', '12.5'])
    const rows = await app.rows(
      `select actor_id, state from discount_changes where object_id = $1`,
      [id],
    )
    expect(rows).toEqual([{ actor_id: 'cli', state: 'accepted' }])
  })

  it.each([
    [['--percent-off', '101'], '--percent-off'],
    [['--amount-off', '5'], '--currency'],
    [['--percent-off', '5', '--months', '3'], '--months'],
    [['--percent-off', '5', '--metadata', 'nothing'], '--metadata'],
    [[], '--amount-off'],
  ])('name the option that breaks a rule: %j', async (options, named) => {
    const { exitCode, stderr } = await cli.run(['coupons:create', ...at(shop), ...options])
    expect(exitCode).toBe(2)
    expect(stderr).toContain(named)
  })

  it('exit with 1 if Stripe refuses, or the coupon does not exist', async () => {
    const refused = [...at(shop), '--percent-off', '5', '--product', 'prod_none', '--json']
    const answer = await cli.run(['coupons:create', ...refused])
    expect(answer.exitCode).toBe(1)
    expect(JSON.parse(answer.stderr)).toMatchObject({ code: 'stripe_refused' })
    const gone = await cli.run(['coupons:delete', 'never', ...at(shop), '--json'])
    expect(gone.exitCode).toBe(1)
    expect(JSON.parse(gone.stderr)).toMatchObject({ code: 'not_found' })
  })
})

describe('coupons:refresh', () => {
  it('F16: mirrors coupons created, changed and deleted at Stripe without a webhook', async () => {
    const own = await openShop(app)
    const account = dashboard(own)
    const [kept, gone, late] = [newId(), newId(), newId()]
    for (const id of [kept, gone]) await account.coupons.create({ id, percent_off: 10 })
    await cli.json(['coupons:refresh', ...at(own)])
    await account.coupons.update(kept, { name: 'Renamed' })
    await account.coupons.del(gone)
    await account.coupons.create({ id: late, amount_off: 500, currency: 'isk' })
    const { data } = await cli.json<{ data: Body[] }>(['coupons:refresh', '--force', ...at(own)])
    expect(data).toMatchObject([{ resource: 'coupons', state: 'succeeded' }])
    const coupons = await list(own, '--include-deleted')
    const named = (id: string) => coupons.find((coupon) => coupon['id'] === id)
    expect(named(kept)).toMatchObject({ name: 'Renamed', deleted_at: null })
    expect(named(gone)).toMatchObject({ deleted_at: expect.any(String) })
    expect(named(late)).toMatchObject({ amount_off: 500 })
  })

  it('reads only the named coupons', async () => {
    const own = await openShop(app)
    const [one, other] = [newId(), newId()]
    for (const id of [one, other]) {
      await dashboard(own).coupons.create({ id, percent_off: 10 })
    }
    const { exitCode, stderr } = await cli.run(['coupons:refresh', one, ...at(own)])
    expect(exitCode).toBe(0)
    expect(stderr).toContain('coupons')
    expect((await list(own)).map((coupon) => coupon['id'])).toEqual([one])
  })

  // More than ten, which may go without a question.
  it('F16: does not delete everything if the account lists nothing', async () => {
    const own = await openShop(app)
    for (let n = 0; n < 12; n += 1) await dashboard(own).coupons.create({ percent_off: 10 })
    await cli.json(['coupons:refresh', ...at(own)])
    for (const { id } of await list(own)) await dashboard(own).coupons.del(String(id))
    const { exitCode, stderr } = await cli.run(['coupons:refresh', ...at(own)])
    expect(exitCode).toBe(1)
    expect(stderr).toContain('coupons')
    expect(await list(own)).toHaveLength(12)
  })

  it('exits with 1 if Stripe cannot be read', async () => {
    const action = { kind: 'error', status: 500, stored: false } as const
    stripe.fake.control.injectFault({ path: '/v1/coupons/*', times: 'always', action })
    const { exitCode } = await cli.run(['coupons:refresh', 'ANY', ...at(shop)])
    expect(exitCode).toBe(1)
  })
})
