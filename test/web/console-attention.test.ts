import { beforeAll, expect, it } from 'vitest'
import { useAppOnStripe } from '../support/stripe-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'
import { type ConsoleShop, openConsoleShop } from './support/console-shop.ts'

const { app, stripe } = useAppOnStripe()
const site = useSite(app)

/** A conference in which one thing of each kind waits. */
let shop: ConsoleShop
beforeAll(async () => {
  shop = await openConsoleShop(app)
  const { id: disputed } = await shop.buy(shop.acme)
  const session = await shop.openPage(disputed)
  stripe.fake.control.pay(session)
  stripe.fake.control.dispute(session)
  await shop.act(disputed, 'reconcile')
  const { id: stuck } = await shop.buy(shop.globex)
  await shop.openPage(stuck)
  await app.rows(
    `update bulk_purchases set created_at = now() - interval '2 days', updated_at = now() - interval '2 days'
     where id = $1`,
    [stuck],
  )
  await app.rows(
    `insert into stripe_events (conference_id, id, type, livemode, body, source, created_at_stripe, status,
       attempts, last_error, finished_at)
     values ($1, 'evt_1', 'refund.created', false, '{}', 'webhook', now(), 'failed', 9, 'It took too long', now())`,
    [shop.conference.id],
  )
  await app.rows(
    `insert into webhook_endpoints (conference_id, id, url, secret_sealed, secret_last4)
     values ($1, 'we_1', 'https://receiver.example/', 'v1:none', 'none')`,
    [shop.conference.id],
  )
  await app.rows(
    `insert into webhook_deliveries (conference_id, id, endpoint_id, type, body, state, finished_at, last_status)
     values ($1, 'msg_1', 'we_1', 'purchase.paid', $2, 'failed', now(), 500)`,
    [
      shop.conference.id,
      JSON.stringify({ type: 'purchase.paid', timestamp: '2027-01-01T00:00:00Z', data: {} }),
    ],
  )
})

describeInBrowser('what needs attention', () => {
  it('is the first page if something waits, with a count in the navigation', async () => {
    const { page } = await site.visitAs(shop.email, shop.home)
    await page.waitForURL(/\/attention$/)
    await page.getByRole('link', { name: /^Attention\s*5$/ }).waitFor()
    for (const title of [
      'Disputes to answer',
      'Purchases with a flag',
      'Processing for more than a day',
      'Failed Stripe events',
      'Failed webhooks to other systems',
    ]) {
      // oxlint-disable-next-line no-await-in-loop
      await page.getByRole('heading', { name: title }).waitFor()
    }
    await page.getByRole('table', { name: 'Disputes to answer' }).getByText('€100.00').waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    const events = page.getByRole('table', { name: 'Failed Stripe events' })
    await events.getByText('It took too long').waitFor()
    await events.getByRole('button', { name: 'Replay' }).click()
    await events.waitFor({ state: 'detached' })
    const webhooks = page.getByRole('table', { name: 'Failed webhooks to other systems' })
    await webhooks.getByRole('button', { name: 'Replay' }).click()
    await webhooks.waitFor({ state: 'detached' })
    await page.getByRole('link', { name: /^Attention\s*3$/ }).waitFor()
  })

  it('leads to the flag and its decision', async () => {
    const { page } = await site.visitAs(shop.email, `${shop.home}/attention`, PHONE)
    const flagged = page.getByRole('table', { name: 'Purchases with a flag' })
    await flagged.getByRole('link').waitFor()
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    await flagged.getByRole('link').click()
    await page.getByRole('button', { name: 'Resolve' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('textbox', { name: 'Note' }).fill('Answered in the dashboard')
    await dialog.getByRole('button', { name: 'Resolve' }).click()
    await dialog.waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Resolve' }).waitFor({ state: 'detached' })
  })

  it('finds a purchase by its sponsor from the first page', async () => {
    const { page } = await site.visitAs(shop.email, `${shop.home}/attention`)
    await page.getByLabel('Find a purchase').fill('Globex')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/purchases\?q=Globex$/)
    await page.getByRole('row', { name: /Globex/ }).waitFor()
    await expectText(page, 'Processing')
  })
})
