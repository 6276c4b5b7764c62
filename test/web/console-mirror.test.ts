import { beforeAll, expect, it } from 'vitest'
import { workOnSyncRun } from '../../src/mirror/runs/sync-run-job.ts'
import { useSyncScene, type WiredShop } from '../mirror/sync-scene.ts'
import { unique } from '../support/fixtures.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  PHONE,
  seriousBarriers,
  useSite,
  type Visitor,
} from './support/browser.ts'

const scene = useSyncScene()
const site = useSite(scene)

let shop: WiredShop
beforeAll(async () => {
  shop = await scene.openWiredShop()
})

type Viewport = typeof PHONE

async function visit(path: string, viewport?: Viewport): Promise<Visitor> {
  const email = `${unique('staff')}@example.org`
  const scopes = ['stripe:sync', 'purchases:read', 'purchases:write']
  const body = { email, role: 'staff', scopes }
  expect((await scene.request('POST', `${shop.path}/users`, { body })).status).toBe(201)
  return site.visitAs(email, `/console/${shop.slug}${path}`, viewport)
}

type Run = { id: string; dry_run: boolean; resource: string }

async function activeRuns(): Promise<Run[]> {
  const url = `${shop.path}/stripe/sync-runs?state=queued`
  return (await scene.request<{ data: Run[] }>('GET', url)).body.data
}

/** As the worker of the service. */
async function work(): Promise<void> {
  const options = { signal: new AbortController().signal, isLastTry: true }
  for (const { id } of await activeRuns()) {
    const ref = { conferenceId: shop.conference, runId: id }
    // oxlint-disable-next-line no-await-in-loop
    await workOnSyncRun({ ...scene.deps, leaseSeconds: 30 }, ref, options)
  }
}

/** The newest runs of a resource. */
const runsOf = ({ page }: Visitor, name: string) =>
  page.getByRole('table', { name: 'Newest syncs' }).getByRole('row').filter({ hasText: name })

async function expectGoodPage({ page }: Visitor): Promise<void> {
  expect(await fitsWidth(page)).toBe(true)
  expect(await seriousBarriers(page)).toEqual([])
}

describeInBrowser('the mirror of Stripe', () => {
  it.each([
    ['desktop', 'customers', 'Customers', undefined],
    ['phone', 'products', 'Products', PHONE],
  ])(
    'is synced with one button, and shows what came in, on a %s',
    async (_, resource, name, viewport) => {
      const { control } = scene.fake
      const seed = resource === 'customers' ? 'seedCustomers' : 'seedProducts'
      const [id = ''] = control[seed](shop.stripeKey, 3)
      const visitor = await visit(`/stripe?resource=${resource}`, viewport)
      const { page } = visitor
      await expectText(page, 'The mirror has none. A sync fetches them from Stripe.')
      await page.getByRole('button', { name: 'Dry run' }).click()
      const dryRun = runsOf(visitor, name).filter({ hasText: 'Dry run' })
      await dryRun.getByText('Queued').waitFor()
      await work()
      await dryRun.getByText('Succeeded').waitFor()
      await dryRun.getByText('3 new').waitFor()
      await dryRun.getByRole('button', { name: 'Details' }).click()
      await page.getByRole('dialog').getByText(id).waitFor()
      await expectGoodPage(visitor)
      await page.getByRole('button', { name: 'Done' }).click()
      await expectText(page, 'The mirror has none.')
      await page.getByRole('button', { name: `Sync ${resource}` }).dblclick()
      await runsOf(visitor, name).filter({ hasText: 'Queued' }).waitFor()
      expect(await activeRuns()).toMatchObject([{ resource, dry_run: false }])
      await work()
      // The list follows the run by itself.
      await page.getByRole('link', { name: id }).click()
      await expectText(page, '"livemode": false')
      await expectGoodPage(visitor)
    },
  )

  it('shows one object with what belongs to it, and leads to Stripe’s dashboard', async () => {
    const { id, session } = await scene.paidOrder(shop)
    const payment = String((await shop.get(id))['payment_intent'])
    const visitor = await visit('/stripe')
    const { page } = visitor
    await page.route(`**/v1/conferences/${shop.slug}`, async (route) => {
      const json = (await (await route.fetch()).json()) as object
      await route.fulfill({
        json: { ...json, stripe_dashboard: 'https://dashboard.stripe.com/test' },
      })
    })
    await page.reload()
    await page.getByLabel('Open an object').fill(payment)
    await page.keyboard.press('Enter')
    await expectText(page, '€100.00')
    const link = page.getByRole('link', { name: 'Stripe’s dashboard' })
    expect(await link.getAttribute('href')).toBe(
      `https://dashboard.stripe.com/test/payments/${payment}`,
    )
    await expectGoodPage(visitor)
    await page.getByRole('button', { name: 'Refresh from Stripe' }).click()
    await page.getByText('The sync of payment intents has begun.').waitFor()
    await work()
    await page.getByRole('link', { name: /^ch_/ }).first().click()
    await page.getByRole('heading', { name: 'Charge' }).waitFor()
    await page.goBack()
    await page.getByRole('link', { name: /voucher codes$/ }).click()
    await page.getByRole('heading', { name: /voucher codes/ }).waitFor()
    await page.goto(`/console/${shop.slug}/stripe/checkout-sessions/${session}_not`)
    await expectText(page, 'The mirror does not have it.')
  })

  it('cancels a sync that waits', async () => {
    const visitor = await visit('/stripe?resource=payouts')
    const { page } = visitor
    await page.getByRole('button', { name: 'Sync payouts' }).click()
    const row = page.getByRole('row').filter({ hasText: 'Payouts' })
    await row.getByRole('button', { name: 'Cancel the sync of Payouts' }).click()
    await row.getByText('Cancelled').waitFor()
    expect(await activeRuns()).toEqual([])
  })

  it('repairs a difference to a purchase', async () => {
    const { id, session } = await scene.paidOrder(shop)
    // No worker handles its event; the mirror has it by a sync.
    scene.fake.control.refund(session, { amount: 2_000 })
    for (const resource of ['refunds', 'payment-intents', 'disputes', 'checkout-sessions']) {
      // oxlint-disable-next-line no-await-in-loop
      await scene.request('POST', `${shop.path}/stripe/${resource}/sync`)
    }
    await work()
    const visitor = await visit('/stripe', PHONE)
    const { page } = visitor
    const differences = page.getByRole('table', { name: 'Differences' })
    const refund = differences.getByRole('row').filter({ hasText: 'Only at Stripe' })
    await refund.waitFor()
    await expectGoodPage(visitor)
    await refund.getByRole('button', { name: 'Repair' }).dblclick()
    await differences.waitFor({ state: 'detached' })
    await expectText(page, 'No difference was found.')
    expect((await scene.request('GET', `${shop.path}/purchases/${id}`)).body).toMatchObject({
      amount_refunded: 2_000,
    })
  })
})
