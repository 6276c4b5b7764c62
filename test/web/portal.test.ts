import { beforeAll, expect, it } from 'vitest'
import { createAddOn, createTicketType } from '../support/fixtures.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  holdBack,
  PHONE,
  seriousBarriers,
  useSite,
  type Visitor,
} from './support/browser.ts'
import { openStore, type Store } from './support/portal-store.ts'

const { app, stripe } = useAppOnStripe()
const site = useSite(app)

type Body = Record<string, unknown>

let shop: Store
beforeAll(async () => {
  shop = await openStore(site, stripe)
})

async function expectGoodPage({ page }: Visitor): Promise<void> {
  expect(await seriousBarriers(page)).toEqual([])
  expect(await fitsWidth(page)).toBe(true)
}

/** The number that stands under a name, such as "Left". */
const figure = ({ page }: Visitor, name: string) =>
  page.locator('.figure', { has: page.locator('dt', { hasText: name }) }).locator('.figure-value')

describeInBrowser('a sponsor', () => {
  it('buys codes: sees the price, pays on Stripe’s page, and watches the purchase become paid', async () => {
    await createAddOn(app, shop, { name: 'Dinner', price: 2_500, description: 'On Thursday' })
    const ticket = await createTicketType(app, shop, { name: 'Corporate', price: 9_900 })
    const visitor = await shop.visit('/buy')
    const { page } = visitor
    await page.getByRole('button', { name: /What/ }).click()
    await page.getByRole('option', { name: /Corporate/ }).click()
    await page.getByLabel('How many codes').fill('12')
    await page.getByLabel('Your reference').fill('PO-7')
    await expectText(page, '€1,188.00')
    await expectGoodPage(visitor)
    await page.getByRole('button', { name: 'Continue to payment' }).dblclick()
    await page.getByRole('button', { name: /^Pay .*1[,.]?188/ }).click()
    await page.waitForURL(/\/portal\/.*from=checkout/)
    await expectText(page, 'waiting for the confirmation of your payment')
    const id = new URL(page.url()).pathname.split('/').at(-1) ?? ''
    const list = await app.request<{ data: Body[] }>(
      'GET',
      `${shop.path}/purchases?ticket_type=${ticket.id}`,
    )
    expect(list.body.data).toMatchObject([{ id, quantity: 12, reference: 'PO-7' }])
    // As Stripe's event does.
    await shop.act(id, 'reconcile')
    await expectText(page, 'This purchase is paid. The codes are ready.')
    await expectText(page, 'Your payment of €1,188.00 arrived.')
    await figure(visitor, 'Left').getByText('12').waitFor()
    await expectGoodPage(visitor)
  })

  it('reads at the field what cannot be ordered', async () => {
    const visitor = await shop.visit('/buy')
    const { page } = visitor
    await createTicketType(app, shop, {
      name: 'Late',
      price: 100,
      active_from: '2099-01-01T00:00:00Z',
    })
    await page.reload()
    await page.getByRole('button', { name: /What/ }).click()
    await page.getByRole('option', { name: /Late/ }).click()
    await page.getByRole('button', { name: 'Continue to payment' }).click()
    await expectText(page, 'The sale of "Late" begins')
    await expectGoodPage(visitor)
  })

  it('orders another number after the first answer was lost', async () => {
    const { page } = await shop.visit(`/buy?item=${shop.ticketType}`)
    await page.route('**/purchases', async (route) => {
      await route.fetch()
      await route.abort()
    })
    await page.getByRole('button', { name: 'Continue to payment' }).click()
    await page.getByText('The service cannot be reached.').waitFor()
    await page.unroute('**/purchases')
    await page.getByLabel('How many codes').fill('11')
    await page.getByRole('button', { name: 'Continue to payment' }).click()
    await page.getByRole('button', { name: /^Pay €110/ }).waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
  })

  it('pays by bank transfer where the conference takes it', async () => {
    await app.request('PATCH', shop.path, {
      body: { bank_details: 'DevConf e.V.\nIBAN DE02 1203 0000 0000 2020 51' },
    })
    const visitor = await shop.visit(`/buy?item=${shop.ticketType}`)
    const { page } = visitor
    await page.getByRole('button', { name: 'We pay by bank transfer' }).click()
    await expectText(page, 'IBAN DE02 1203 0000 0000 2020 51')
    const id = new URL(page.url()).pathname.split('/').at(-1) ?? ''
    await expectText(page, id)
    await expectGoodPage(visitor)
    const payment = { amount: 10_000, method: 'bank_transfer', reference: 'Statement 4' }
    expect((await shop.act(id, 'mark-paid', payment)).status).toBe(200)
    await expectText(page, 'The organizers received your payment of €100.00.')
    await expectText(page, 'by bank transfer (Statement 4)')
  })

  it('cancels a purchase, and pays it later', async () => {
    const { id } = await shop.buy()
    await shop.openSession(id)
    const { page } = await shop.visit(`/purchases/${id}`, PHONE)
    await expectText(page, 'The payment page is open')
    await page.getByRole('button', { name: 'Cancel the purchase' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel the purchase' }).click()
    await expectText(page, 'This purchase was cancelled. Nothing was charged.')
    await page.getByRole('button', { name: 'Pay now' }).click()
    await page.getByRole('button', { name: 'Decline card' }).click()
    await page.getByRole('button', { name: 'Cancel and return' }).click()
    await page.waitForURL(new RegExp(`/portal/${shop.slug}/purchases/${id}$`))
    await expectText(page, 'The payment page is open')
  })

  it('reads in sentences what a refund and a dispute mean', async () => {
    const id = await shop.buyPaid({ quantity: 10 })
    const refund = await shop.act(id, 'refund', { amount: 3_000 })
    expect(refund.status).toBe(200)
    const { payment_intent: intent } = await shop.get(id)
    // As the mirror's worker does after the payment.
    await app.rows(
      `insert into stripe.charges (conference_id, id, created, as_of, livemode, data, payment_intent, status, amount,
         currency, receipt_url)
       values ($1, 'ch_1', now(), now(), false, '{}', $2, 'succeeded', 10000, 'eur', 'https://receipts.example/1')`,
      [shop.conference, intent],
    )
    const visitor = await shop.visit(`/purchases/${id}`)
    await expectText(visitor.page, 'We returned €30.00 to you.')
    await expectText(visitor.page, '3 of 10 codes no longer work.')
    const receipt = visitor.page.getByRole('link', { name: 'Receipt' })
    expect(await receipt.getAttribute('href')).toBe('https://receipts.example/1')
    await figure(visitor, 'Left').getByText('7').waitFor()
    stripe.fake.control.dispute(String(intent))
    await shop.act(id, 'reconcile')
    await expectText(visitor.page, 'Until it is decided, the unused codes do not work.')
    await figure(visitor, 'On hold').getByText('7').waitFor()
    await expectGoodPage(visitor)
  })
})

describeInBrowser('the codes of a purchase', () => {
  it('are copied, downloaded and searched, and show which are used', async () => {
    const id = await shop.buyPaid({ quantity: 60 })
    const codes = await shop.codes(id)
    const body = { reference: 'order-2' }
    await app.request('POST', `${shop.path}/vouchers/${codes[1]}/redemptions`, { body })
    const visitor = await shop.visit(`/purchases/${id}`)
    const { page } = visitor
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    const clipboard = () => page.evaluate<string>('navigator.clipboard.readText()')
    const row = (code: string | undefined) => page.getByRole('row').filter({ hasText: code ?? '' })
    await row(codes[1]).getByText('Used').waitFor()
    await row(codes[0]).getByRole('button', { name: 'Copy' }).click()
    await expect.poll(clipboard).toBe(codes[0])
    await page.getByRole('button', { name: 'Copy all' }).click()
    await page.getByText('60 codes are copied.').waitFor()
    expect((await clipboard()).split('\n')).toEqual(codes)
    await page.evaluate(
      `navigator.clipboard.write = () => Promise.reject(new DOMException('Denied', 'NotAllowedError'))
       navigator.clipboard.writeText = navigator.clipboard.write`,
    )
    const refusals = page
      .getByRole('alert')
      .getByText('The browser does not allow this page to copy.')
    await page.getByRole('button', { name: 'Copy all' }).click()
    await row(codes[0]).getByRole('button', { name: 'Copy' }).click()
    await expect.poll(() => refusals.count()).toBe(2)
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ])
    expect(file.suggestedFilename()).toBe(`vouchers-${id}.csv`)
    await page.getByRole('button', { name: 'Next page' }).click()
    await row(codes[59]).waitFor()
    await page.goBack()
    await page.getByLabel('Find a code or a person').fill(codes[40] ?? '')
    await page.keyboard.press('Enter')
    await row(codes[40]).waitFor()
    await row(codes[0]).waitFor({ state: 'detached' })
    await page.getByLabel('Find a code or a person').fill('')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: /Show/ }).click()
    await page.getByRole('option', { name: 'Used', exact: true }).click()
    await row(codes[0]).waitFor({ state: 'detached' })
    await row(codes[1]).waitFor()
    await expectGoodPage(visitor)
  })

  it('go to a person by mail, to another person, and come back', async () => {
    const id = await shop.buyPaid({ quantity: 3 })
    const [code = ''] = await shop.codes(id)
    const visitor = await shop.visit(`/purchases/${id}`, PHONE)
    const { page } = visitor
    const row = page.getByRole('row').filter({ hasText: code })
    await page.getByRole('button', { name: `Assign ${code}` }).click()
    await page.getByLabel('E-mail address').fill('grace@')
    await page.getByRole('button', { name: 'Assign and send' }).click()
    await page.getByLabel('E-mail address').fill('grace@acme.example')
    await page.getByLabel('Name').fill('Grace Hopper')
    await page.getByRole('button', { name: 'Assign and send' }).click()
    await row.getByText('Grace Hopper').waitFor()
    await expectGoodPage(visitor)
    await row.getByRole('button', { name: 'Change' }).click()
    await page.getByLabel('E-mail address').fill('joan@acme.example')
    await page.getByLabel('Name').fill('')
    await page.getByText('Grace Hopper still knows the code').waitFor()
    await page.getByRole('button', { name: 'Assign and send' }).click()
    await row.getByText('joan@acme.example').waitFor()
    await row.getByRole('button', { name: 'Take back' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Take back' }).click()
    await row.getByText('Nobody yet').waitFor()
  })

  it('are assigned one after the other, also while the answer about the first is slow', async () => {
    const id = await shop.buyPaid({ quantity: 2 })
    const [first = '', second = ''] = await shop.codes(id)
    const { page } = await shop.visit(`/purchases/${id}`)
    const release = await holdBack(page, '**/assignment')
    await page.getByRole('button', { name: `Assign ${first}` }).click()
    await page.getByLabel('E-mail address').fill('grace@acme.example')
    await page.getByRole('button', { name: 'Assign and send' }).click()
    await page.getByRole('button', { name: 'Close' }).click()
    await page.getByRole('button', { name: `Assign ${second}` }).click()
    await page.getByLabel('E-mail address').fill('joan@acme.example')
    release()
    await page.getByText('The code is on its way to grace@acme.example.').waitFor()
    await page.locator('td', { hasText: 'grace@acme.example' }).waitFor()
    expect(await page.getByLabel('E-mail address').inputValue()).toBe('joan@acme.example')
  })

  it('go to a list of people after a preview that names each wrong line', async () => {
    const id = await shop.buyPaid({ quantity: 3 })
    const visitor = await shop.visit(`/purchases/${id}`)
    const { page } = visitor
    await page.getByRole('button', { name: 'Assign a list' }).click()
    const list = page.getByLabel('Or paste the list')
    await list.fill('ada@acme.example,Ada\nnot-an-address,Bob\n')
    await page.getByRole('button', { name: 'Check the list' }).click()
    await page.getByText('1 line must be corrected.').waitFor()
    await page.getByRole('row', { name: /^2 not-an-address,Bob email/ }).waitFor()
    await expectGoodPage(visitor)
    // As a spreadsheet is pasted; the first address looks like a header.
    await list.fill('ada@freemail.example\tLovelace, Ada\nbob@acme.example\tBob\n')
    await page.getByRole('button', { name: 'Check the list' }).click()
    await page.getByText('The list is right: 2 people.').waitFor()
    await expectGoodPage(visitor)
    await page.getByRole('button', { name: 'Assign 2 codes and send' }).click()
    await page.getByRole('cell', { name: /bob@acme\.example/ }).waitFor()
  })
})

describeInBrowser('the people of a sponsor', () => {
  it('invite and remove colleagues, and sign out elsewhere', async () => {
    const elsewhere = await shop.visit('/people')
    const email = String(await elsewhere.page.locator('.top-bar .muted').textContent())
    const here = await site.visitAs(email, `/portal/${shop.slug}/people`)
    const { page } = here
    await page.getByRole('button', { name: 'Invite a colleague' }).click()
    await page.getByLabel('E-mail address').fill('new@acme.example')
    await page.getByLabel('Name').fill('Newton')
    await page.getByRole('button', { name: 'Invite', exact: true }).click()
    const row = page.getByRole('row').filter({ hasText: 'Newton' })
    await row.getByText('Never').waitFor()
    await expectGoodPage(here)
    await page.getByRole('button', { name: 'Remove Newton' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await row.waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Sign out there' }).click()
    await page.getByText('Signed out there.').waitFor()
    await elsewhere.page.reload()
    await elsewhere.page.waitForURL(/sign-in/)
  })
})

describeInBrowser('the overview of a sponsor', () => {
  it.each([
    ['desktop', undefined],
    ['phone', PHONE],
  ])('counts the codes of all purchases, on a %s', async (_size, viewport) => {
    const of = await openStore(site, stripe)
    const visitor = await of.visit('', viewport)
    const { page } = visitor
    await expectText(page, 'You have not bought any codes yet.')
    await expectGoodPage(visitor)
    const id = await of.buyPaid({ quantity: 30 })
    await of.buyPaid({ quantity: 20 })
    await of.buy({ quantity: 5 })
    const [code] = await of.codes(id)
    const body = { reference: 'order-1' }
    await app.request('POST', `${of.path}/vouchers/${code}/redemptions`, { body })
    await page.reload()
    await figure(visitor, 'Codes').getByText('50').waitFor()
    await figure(visitor, 'Used').getByText(/^1$/).waitFor()
    await figure(visitor, 'Left').getByText('49').waitFor()
    await expectText(page, '29 of 30')
    await expectText(page, 'Not paid yet')
    await expectGoodPage(visitor)
  })
})
