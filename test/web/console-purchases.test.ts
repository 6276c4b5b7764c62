import { beforeAll, expect, it } from 'vitest'
import { unique } from '../support/fixtures.ts'
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

let shop: ConsoleShop
/** A purchase of Globex that is paid, and one of Acme that failed. */
let paid: string
let failed: string
beforeAll(async () => {
  shop = await openConsoleShop(app)
  paid = (await shop.buy(shop.globex, { reference: 'PO-77' })).id
  stripe.fake.control.pay(await shop.openPage(paid))
  await shop.act(paid, 'reconcile')
  failed = (await shop.buy(shop.acme)).id
  stripe.fake.control.decline(await shop.openPage(failed), 'insufficient_funds')
  await shop.act(failed, 'reconcile')
  await shop.act(failed, 'cancel')
})

describeInBrowser('the questions of staff', () => {
  it('answers "who has paid?" with one click, and the list as CSV', async () => {
    const { page } = await site.visitAs(shop.email, shop.home)
    await page.getByRole('button', { name: 'Paid', exact: true }).click()
    await page
      .getByRole('row', { name: /Globex/ })
      .getByText('Paid')
      .waitFor()
    await page.getByRole('row', { name: /Acme/ }).waitFor({ state: 'detached' })
    expect(new URL(page.url()).searchParams.get('status')).toBe('PAID')
    expect(await seriousBarriers(page)).toEqual([])
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ])
    const csv = (await (await download.createReadStream()).toArray()).join('')
    expect(csv).toContain(paid)
    expect(csv).not.toContain(failed)
  })

  it('answers "why did this fail?" with two clicks', async () => {
    const { page } = await site.visitAs(shop.email, shop.home)
    await page.getByRole('button', { name: 'Failed', exact: true }).click()
    await page
      .getByRole('row', { name: /Failed/ })
      .getByRole('link')
      .click()
    await page.getByRole('heading', { name: /^Acme: 10 × Early Bird/ }).waitFor()
    await expectText(page, 'Why it failed')
    await expectText(page, '(insufficient_funds)')
    await expectText(page, 'Payment declined')
    expect(await seriousBarriers(page)).toEqual([])
  })

  it('gives Acme five free tickets with three clicks', async () => {
    const { page } = await site.visitAs(shop.email, shop.home)
    await page.getByRole('link', { name: 'New purchase' }).click()
    await page.getByLabel('Number of codes').fill('5')
    await page.getByRole('combobox', { name: 'Sponsor' }).fill('Acm')
    await page.getByRole('option', { name: 'Acme' }).waitFor()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.getByText('Free of charge').click()
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('button', { name: 'Create and issue the codes' }).click()
    await page.getByRole('heading', { name: 'Acme: 5 × Early Bird voucher codes' }).waitFor()
    await page.waitForURL(/\/purchases\/bp_/)
    const id = new URL(page.url()).pathname.split('/').at(-1) ?? ''
    expect(await shop.get(id)).toMatchObject({
      status: 'PAID',
      sponsor_name: 'Acme',
      vouchers: { issued: 5 },
    })
  })

  it('takes three codes of Globex back with three clicks, and shows first which ones', async () => {
    const { page } = await site.visitAs(shop.email, shop.home)
    const row = page.getByRole('row', { name: /Globex.*PO-77/ })
    await row.getByRole('link').click()
    await page.getByRole('button', { name: 'Refund' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('textbox', { name: 'Number of codes' }).fill('3')
    await page.keyboard.press('Tab')
    await dialog.getByText('3 codes will stop working').waitFor()
    await dialog.getByText('€30.00').waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    await dialog.getByRole('button', { name: 'Refund', exact: true }).click()
    await dialog.waitFor({ state: 'detached' })
    await expectText(page, 'Refunded in part')
    expect(await shop.get(paid)).toMatchObject({
      amount_refunded: 3_000,
      vouchers: { active: 7, deactivated: 3 },
    })
  })

  it('says why a refund is refused for a code that was used meanwhile', async () => {
    const { id } = await shop.buy(shop.acme)
    await shop.markPaid(id, 10_000)
    const { body } = await app.request<{ data: { code: string }[] }>(
      'GET',
      `${shop.path}/purchases/${id}/vouchers`,
    )
    const code = body.data[0]?.code ?? ''
    const { page } = await site.visitAs(shop.email, `${shop.home}/purchases/${id}`)
    await page.getByRole('button', { name: 'Refund' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: /What to refund/ }).click()
    await page.getByRole('option', { name: 'Certain codes' }).click()
    await dialog.getByRole('textbox', { name: 'Codes' }).fill(code)
    await dialog.getByText('1 code will stop working').waitFor()
    await shop.post(`/vouchers/${code}/redemptions`, { reference: 'order-7' })
    await dialog.getByRole('button', { name: 'Refund', exact: true }).click()
    await page
      .getByRole('alert')
      .getByText(/redeemed/)
      .waitFor()
    expect(await shop.get(id)).toMatchObject({ amount_refunded: 0 })
  })
})

describeInBrowser('the list of purchases', () => {
  it('keeps filters and page in its address, and leads back', async () => {
    const { page } = await site.visitAs(shop.email, `${shop.home}/purchases?q=PO-77&flag=any`)
    await expectText(page, 'No purchase matches.')
    await page.getByRole('button', { name: /Flag/ }).click()
    await page.getByRole('option', { name: 'With or without' }).click()
    await page.getByRole('row', { name: /PO-77/ }).waitFor()
    expect(new URL(page.url()).search).toBe('?q=PO-77')
    await page.getByRole('combobox', { name: 'Sponsor' }).fill('Acme')
    await page.getByRole('option', { name: 'Acme' }).click()
    await expectText(page, 'No purchase matches.')
    expect(new URL(page.url()).searchParams.get('sponsor')).toBe(shop.acme.slug)
    await page.getByRole('link', { name: 'Show all purchases' }).click()
    await page.getByRole('row', { name: /Acme/ }).first().waitFor()
  })

  it('shows the oldest first on request, also in the CSV', async () => {
    const { page } = await site.visitAs(shop.email, `${shop.home}/purchases?status=PAID`)
    const rows = page.getByRole('table', { name: 'Purchases' }).locator('tbody tr')
    await rows.filter({ hasText: 'PO-77' }).waitFor()
    await page.getByRole('button', { name: 'Oldest first' }).click()
    await rows.first().filter({ hasText: 'PO-77' }).waitFor()
    expect(new URL(page.url()).search).toBe('?status=PAID&sort=oldest')
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ])
    const lines = (await (await download.createReadStream()).toArray()).join('').split('\n')
    expect(lines[1]).toContain(paid)
  })

  it('leads to the next page and back', async () => {
    const ticket = { sponsor: shop.globex.slug, quantity: 1 }
    await Promise.all(
      Array.from({ length: 51 }, (_, place) =>
        shop.buy(shop.globex, { ...ticket, reference: `Row ${place}` }),
      ),
    )
    const { page } = await site.visitAs(shop.email, `${shop.home}/purchases?q=Row`)
    const rows = page.getByRole('table', { name: 'Purchases' }).getByRole('row')
    await rows.nth(50).waitFor()
    await page.getByRole('button', { name: 'Next page' }).click()
    await rows.nth(2).waitFor({ state: 'detached' })
    expect(new URL(page.url()).searchParams.get('cursor')).not.toBeNull()
    await page.getByRole('button', { name: 'Previous page' }).click()
    await rows.nth(50).waitFor()
    expect(new URL(page.url()).search).toBe('?q=Row')
  })

  it('approves several free purchases at once, with a result for each', async () => {
    const one = await shop.buy(shop.acme, { unit_amount: 0, quantity: 2 })
    const other = await shop.buy(shop.globex, { unit_amount: 0, quantity: 3 })
    const { page } = await site.visitAs(shop.email, `${shop.home}/purchases?status=PENDING`)
    await page.getByRole('button', { name: 'Choose all' }).click()
    await page.getByRole('button', { name: 'Approve' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('5 codes will be issued.').waitFor()
    // Somebody else is faster with one of them.
    await shop.act(other.id, 'cancel')
    await dialog.getByRole('button', { name: 'Approve' }).click()
    await dialog.getByText('Approved', { exact: true }).first().waitFor()
    await dialog
      .getByRole('alert')
      .getByText(/not possible/)
      .waitFor()
    expect(await shop.get(one.id)).toMatchObject({ status: 'PAID' })
    expect(await shop.get(other.id)).toMatchObject({ status: 'FAILED' })
  })
})

describeInBrowser('a purchase', () => {
  it('shows what a colleague did meanwhile: the transfer that arrived, and a note', async () => {
    const { id } = await shop.buy(shop.globex)
    const path = `${shop.home}/purchases/${id}`
    const { page } = await site.visitAs(shop.email, path)
    const colleague = await site.visitAs(shop.email, path)
    await page.getByRole('button', { name: 'Mark paid' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Amount received (EUR)').fill('100.00')
    await dialog.getByLabel('Reference').fill('RE-2027-9')
    expect(await seriousBarriers(page)).toEqual([])
    await dialog.getByRole('button', { name: 'Mark paid' }).dblclick()
    await dialog.waitFor({ state: 'detached' })
    await expectText(colleague.page, 'Payment recorded')
    await expectText(colleague.page, 'Bank transfer, RE-2027-9')
    await colleague.page.getByLabel('Note for your colleagues').fill('Thanks, I saw it')
    await colleague.page.keyboard.press('Enter')
    await expectText(page, 'Thanks, I saw it')
  })

  it('gets another price and other terms, then a link to pay', async () => {
    const { id } = await shop.buy(shop.acme)
    const { page } = await site.visitAs(shop.email, `${shop.home}/purchases/${id}`)
    await page.getByRole('button', { name: 'Change' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Price of one code (EUR)').fill('7.50')
    await dialog.getByLabel('Uses of a code').fill('2')
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.waitFor({ state: 'detached' })
    expect(await shop.get(id)).toMatchObject({
      unit_amount: 750,
      quantity: 10,
      voucher_config: { max_uses: 2, voucher_type: 'comp' },
    })
    await page.getByRole('button', { name: 'Payment link' }).click()
    await page.getByRole('button', { name: 'Create the link' }).click()
    await page.getByRole('dialog').getByText(stripe.fake.url).waitFor()
    expect(await shop.get(id)).toMatchObject({ status: 'PROCESSING' })
  })

  it('fits a phone, and nothing in it is hard to use', async () => {
    const { page } = await site.visitAs(shop.email, `${shop.home}/purchases/${paid}`, PHONE)
    await expectText(page, 'Attempts to pay')
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('link', { name: 'Purchases' }).click()
    await page
      .getByRole('row', { name: /Early Bird/ })
      .first()
      .waitFor()
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
  })

  it('offers a reader no action', async () => {
    const email = `${unique('reader')}@example.org`
    await shop.post('/users', { email, role: 'staff', scopes: ['purchases:read'] })
    const { page } = await site.visitAs(email, `${shop.home}/purchases/${paid}`)
    await expectText(page, 'History')
    expect(await page.getByRole('main').getByRole('button').allTextContents()).toEqual(['Copy'])
  })
})
