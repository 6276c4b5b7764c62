import { expect, it } from 'vitest'
import { createSponsor, createTicketType } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'
import { useConference } from './support/conference.ts'

const app = useTestApp()
const site = useSite(app)

const { conference, inviteStaff: invite } = useConference(app)

describeInBrowser('the settings of a conference', () => {
  it('say what Stripe still lacks, and take the signing secret', async () => {
    const email = await invite(['settings:write', 'stripe:sync'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/settings`, PHONE)
    await expectText(page, `${site.url()}/webhooks/stripe/${conference.slug}`)
    await expectText(page, 'Missing')
    await expectText(page, /No event has arrived yet/)
    await page.getByRole('button', { name: 'Add a signing secret' }).click()
    await page.getByLabel('Signing secret', { exact: true }).fill('whsec_1234567890abcdef')
    await page.getByRole('button', { name: 'Add', exact: true }).dblclick()
    await expectText(page, 'whsec_****cdef')
    expect(await page.getByRole('alert').count()).toBe(0)
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    const { body } = await app.request<{ data: unknown[] }>(
      'GET',
      `${conference.path}/webhook-secrets`,
    )
    expect(body.data).toHaveLength(1)
  })

  it('keep what staff save, and name the field that is wrong', async () => {
    const email = await invite(['settings:write'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/settings`)
    await page.getByLabel('Allowed origins').fill('https://tickets.example.org/path')
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await expectText(page, /must be an origin such as/)
    await page.getByLabel('Allowed origins').fill('https://tickets.example.org')
    await page.getByLabel('Name', { exact: true }).fill('PyCon Berlin')
    // Somebody else adds the account, and the page shows a key of Stripe: what is typed here stays.
    const bank_details = 'DevConf e.V., IBAN DE02 1203 0000 0000 2020 51'
    await app.request('PATCH', conference.path, {
      body: { bank_details, stripe_secret_key: 'sk_test_other9876' },
    })
    const isShown = async () => {
      await page.evaluate("dispatchEvent(new Event('visibilitychange'))")
      return page.getByText(/9876/).count()
    }
    await expect.poll(isShown).toBe(1)
    await page.getByRole('button', { name: 'Save', exact: true }).click()
    await page.getByText('The settings were saved.').waitFor()
    const { body } = await app.request('GET', conference.path)
    expect(body).toMatchObject({
      name: 'PyCon Berlin',
      allowed_origins: ['https://tickets.example.org'],
      bank_details,
    })
    expect(await seriousBarriers(page)).toEqual([])
  })
})

describeInBrowser('outbound webhooks', () => {
  it('get the events that staff choose, show their deliveries, and send one again', async () => {
    const email = await invite(['settings:write'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/settings`, PHONE)
    await page.getByRole('button', { name: 'Add an address' }).click()
    const form = page.getByRole('dialog')
    await form.getByLabel('Address').fill('https://portal.example/hooks')
    await form.getByText('All, also those of later releases').click()
    expect(await form.getByRole('button', { name: 'Add', exact: true }).isDisabled()).toBe(true)
    await form.getByText('A purchase is paid, or a free one approved').click()
    await form.getByText('Codes were issued').click()
    expect(await seriousBarriers(page)).toEqual([])
    await form.getByRole('button', { name: 'Add', exact: true }).dblclick()
    await page
      .getByRole('dialog', { name: 'The signing secret' })
      .getByText(/^whsec_/)
      .waitFor()
    await page.getByRole('button', { name: 'Done' }).click()
    await expectText(page, 'purchase.paid, vouchers.issued')
    const { body: endpoints } = await app.request<{ data: { id: string }[] }>(
      'GET',
      `${conference.path}/webhook-endpoints`,
    )
    expect(endpoints.data).toHaveLength(1)
    const [endpoint] = endpoints.data
    await page.getByRole('button', { name: 'Change https://portal.example/hooks' }).click()
    await form.getByLabel('Description').fill('The ticket shop')
    await form.getByText('All, also those of later releases').click()
    await form.getByRole('button', { name: 'Save' }).click()
    await expectText(page, 'The ticket shop')
    // Issues codes, so there is a delivery. No worker sends it.
    await app.request('POST', `${conference.path}/voucher-batches`, {
      body: { count: 2, voucher_type: 'comp' },
    })
    await app.rows(
      `update webhook_deliveries set state = 'failed', attempts = 9, next_attempt_at = null, finished_at = now(),
         last_status = 500 where endpoint_id = $1`,
      [endpoint?.id],
    )
    await page.getByRole('button', { name: 'Deliveries to https://portal.example/hooks' }).click()
    const deliveries = page.getByRole('table', { name: 'The newest deliveries' })
    await deliveries.getByText('vouchers.issued').waitFor()
    await deliveries.getByText('9 tries, status 500').waitFor()
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    await deliveries.getByRole('button', { name: 'Send again' }).dblclick()
    await deliveries.getByText('Pending').waitFor()
    await page.getByRole('button', { name: /Show/ }).click()
    await page.getByRole('option', { name: 'Failed' }).click()
    await page.getByText('No delivery is in this state.').waitFor()
  })
})

describeInBrowser('"what came in?"', () => {
  it('is answered by the reports, as figures, a chart and a table', async () => {
    const sponsor = await createSponsor(app, conference)
    const ticket = await createTicketType(app, conference, { price: 12_500 })
    const { body: purchase } = await app.request<{ id: string }>(
      'POST',
      `${conference.path}/purchases`,
      { body: { sponsor: sponsor.id, ticket_type: ticket.id, quantity: 2 } },
    )
    const paid = await app.request(
      'POST',
      `${conference.path}/purchases/${purchase.id}/mark-paid`,
      { body: { method: 'bank_transfer', reference: 'INV-1', amount: 25_000 } },
    )
    expect(paid.status).toBe(200)
    const refund = `${conference.path}/purchases/${purchase.id}/refund`
    await app.request('POST', refund, { body: { amount: 5_000 } })
    const email = await invite(['purchases:read'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}`)
    await page.getByRole('link', { name: 'Reports' }).click()
    await page.getByRole('button', { name: /Period/ }).click()
    await page.getByRole('option', { name: 'The last 30 days' }).click()
    await page.getByRole('img', { name: /^Received and refunded by day and ticket type/ }).waitFor()
    expect(new URL(page.url()).searchParams.get('period')).toBe('30-days')
    const byTicket = page.getByRole('table', { name: 'Money by ticket type' }).getByRole('row')
    await byTicket
      .filter({ hasText: String(ticket['name']) })
      .getByText('€250.00')
      .first()
      .waitFor()
    await page.getByText('Day by day').first().click()
    const today = new Date().toISOString().slice(0, 10)
    const byDay = page.getByRole('table', { name: 'Money by day and ticket type' })
    await byDay.getByRole('row', { name: today }).getByText('€50.00').waitFor()
    await page.getByRole('heading', { name: 'Paid outside Stripe' }).waitFor()
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ])
    const csv = (await (await download.createReadStream()).toArray()).join('')
    expect(csv).toContain(`${today},${ticket.id},`)
    expect(await seriousBarriers(page)).toEqual([])
    await page.setViewportSize(PHONE)
    // The chart follows in one of the next frames.
    await expect.poll(() => fitsWidth(page)).toBe(true)
  })
})
