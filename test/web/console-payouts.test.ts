import { beforeAll, expect, it } from 'vitest'
import { unique } from '../support/fixtures.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'

const { app, stripe } = useAppOnStripe()
const site = useSite(app)

let shop: Shop
let slug = ''
let payout = { id: '', amount: 0 }
beforeAll(async () => {
  slug = unique('payouts')
  shop = await openShop(app, { slug })
  const { id } = await shop.buy()
  const { control } = stripe.fake
  control.pay(await shop.openSession(id))
  await shop.act(id, 'reconcile')
  payout = control.payOut(shop.stripeKey, 'eur')
})

async function signIn(size: typeof PHONE | undefined, path: string) {
  const email = `${unique('staff')}@example.org`
  const body = { email, role: 'staff', scopes: ['purchases:read'] }
  expect((await app.request('POST', `${shop.path}/users`, { body })).status).toBe(201)
  return site.visitAs(email, `/console/${slug}${path}`, size)
}

describeInBrowser('the payouts of Stripe', () => {
  it.each([
    ['desktop', undefined],
    ['phone', PHONE],
  ])('lead from the reports to the purchases that a payout is of, on a %s', async (_, size) => {
    const { page } = await signIn(size, '/reports')
    await page.getByRole('link', { name: 'Payouts of Stripe' }).click()
    await page.getByRole('table', { name: 'Payouts' }).getByText('On its way').waitFor()
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('table', { name: 'Payouts' }).getByRole('link').first().click()
    await expectText(page, `The entries add up to the payout of`)
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ])
    expect(file.suggestedFilename()).toBe(`payout-${payout.id}.csv`)
    const table = page.getByRole('table', { name: 'Entries of the payout' })
    await table.getByRole('link').click()
    await page.waitForURL(/\/purchases\/bp_/)
  })
})
