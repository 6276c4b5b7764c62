import { describe, expect, it } from 'vitest'
import { openShop, type Shop } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

type Line = { id: string; payment_methods: number | null; problem: { code: string } | null }

/** A customer with one card whose webhook is missing. */
async function customerWithCard(shop: Shop): Promise<string> {
  const { body } = await app.request<Body>('POST', `${shop.path}/customers`, {
    body: { sponsor: shop.sponsor },
  })
  stripe.fake.control.call(shop.stripeKey, 'POST', '/v1/payment_methods/pm_card_visa/attach', {
    customer: body['stripe_customer'],
  })
  return String(body['id'])
}

const customer = async (shop: Shop, id: string) =>
  (await app.request<Body>('GET', `${shop.path}/customers/${id}`)).body

describe('customers:refresh', () => {
  it('reads every customer of a conference with its cards, with a line each', async () => {
    const shop = await openShop(app)
    const id = await customerWithCard(shop)
    const { exitCode, stdout, stderr } = await cli.run([
      'customers:refresh',
      '--conference',
      shop.conference,
    ])
    expect(exitCode).toBe(0)
    expect(stdout).toContain(id)
    expect(stderr).toContain(`1/1 ${id} 1 payment methods`)
    expect(await customer(shop, id)).toMatchObject({
      default_payment_method: expect.stringMatching(/^pm_/),
    })
  })

  it('reads 100 customers a request, also those that were made at Stripe (issue 8, line 28)', async () => {
    const shop = await openShop(app)
    const id = await customerWithCard(shop)
    stripe.fake.control.seedCustomers(shop.stripeKey, 150)
    stripe.fake.control.clearRequests()
    const args = ['customers:refresh', '--conference', shop.conference]
    const { exitCode, stderr } = await cli.run(args)
    expect(exitCode).toBe(0)
    expect(stderr).toContain('read 151 customers')
    expect(stderr).toContain(`1/1 ${id} 1 payment methods`)
    const asked = stripe.fake.control.requests().filter(({ path }) => path === '/v1/customers')
    expect(asked).toHaveLength(2)
    const mirrored = await app.rows('select id from stripe.customers where conference_id = $1', [
      shop.conference,
    ])
    expect(mirrored).toHaveLength(151)
  })

  it('reads the named customers, in any conference', async () => {
    const [shop, other] = [await openShop(app), await openShop(app)]
    const [id, left] = [await customerWithCard(shop), await customerWithCard(other)]
    const { data } = await cli.json<{ data: Line[] }>(['customers:refresh', '--ids', id])
    expect(data).toMatchObject([{ id, payment_methods: 1, problem: null }])
    expect(await customer(other, left)).toMatchObject({ default_payment_method: null })
    const unknown = await cli.run(['customers:refresh', '--ids', 'cust_unknown'])
    expect(unknown).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('cust_unknown') })
  })

  it('F12: exits with 1 if one cannot be read, and reads the others', async () => {
    const [shop, broken] = [await openShop(app), await openShop(app)]
    const ids = [await customerWithCard(shop), await customerWithCard(broken)]
    stripe.fake.control.revokeKey(broken.stripeKey)
    const { exitCode, stdout } = await cli.run([
      'customers:refresh',
      '--ids',
      ids.toReversed().join(','),
      '--json',
    ])
    expect(exitCode).toBe(1)
    const { data } = JSON.parse(stdout) as { data: Line[] }
    expect(data).toMatchObject([
      { id: ids[1], problem: { code: expect.stringContaining('stripe') } },
      { id: ids[0], payment_methods: 1, problem: null },
    ])
  })
})
