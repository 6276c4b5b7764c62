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
import { openStore, type Store } from './support/portal-store.ts'

const { app, stripe } = useAppOnStripe()
const site = useSite(app)

const BANK = 'DevConf e.V.\nIBAN DE02 1203 0000 0000 2020 51'

let shop: Store
beforeAll(async () => {
  shop = await openStore(site, stripe, { bank_details: BANK })
})

describeInBrowser('an order that is not paid yet', () => {
  it('is changed, paid by bank transfer, and no longer changed once a payment page is open', async () => {
    const { id } = await shop.buy({ quantity: 12 })
    const { page } = await shop.visit(`/purchases/${id}`, PHONE)
    await expectText(page, 'It is not paid yet.')
    await page.getByRole('button', { name: 'Change the order' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('How many codes').fill('')
    await page.keyboard.press('Tab')
    await dialog.getByLabel('Your reference').fill('PO-9')
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.getByLabel('How many codes').fill('15')
    await page.keyboard.press('Tab')
    await dialog.getByText('€150.00').waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    await dialog.getByRole('button', { name: 'Save' }).dblclick()
    await dialog.waitFor({ state: 'detached' })
    await expectText(page, '€150.00')
    await expectText(page, 'PO-9')
    expect(await shop.get(id)).toMatchObject({ quantity: 15, reference: 'PO-9' })
    await page.getByRole('button', { name: 'We pay by bank transfer' }).click()
    await expectText(page, 'IBAN DE02 1203 0000 0000 2020 51')
    await expectText(page, id)
    // A colleague opens the payment page meanwhile.
    await shop.openSession(id)
    await expectText(page, 'The payment page is open')
    await page.getByRole('button', { name: 'Change the order' }).waitFor({ state: 'detached' })
    expect(await fitsWidth(page)).toBe(true)
  })

  it('is paid with the saved card', async () => {
    const as = shop.sponsorKey
    const customers = `${shop.path}/customers`
    const { body: customer } = await app.request<{ id: string }>('POST', customers, { as })
    await app.request('POST', `${customers}/${customer.id}/payment-methods`, {
      as,
      body: { payment_method: 'pm_card_visa' },
    })
    const { id } = await shop.buy()
    const { page } = await shop.visit(`/purchases/${id}`)
    await page.getByRole('button', { name: 'Pay with Visa ending in 4242' }).click()
    await page.getByRole('dialog').getByText('€100.00').waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Pay', exact: true }).dblclick()
    await expectText(page, 'This purchase is paid. The codes are ready.')
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', amount_received: 10_000 })
  })

  it('says who must act where the conference has no payment page', async () => {
    const other = await openStore(site, stripe, { stripe_secret_key: undefined })
    const { id } = await other.buy()
    const { page } = await other.visit(`/purchases/${id}`)
    await expectText(page, 'It cannot be paid on this page.')
    expect(await page.getByRole('button', { name: /Pay|transfer/ }).count()).toBe(0)
    await app.request('PATCH', other.path, { body: { bank_details: BANK } })
    await page.reload()
    await expectText(page, 'IBAN DE02 1203 0000 0000 2020 51')
  })
})

describeInBrowser('a purchase in each state', () => {
  it('says what is true of it, whether it was paid, free, transferred or recorded', async () => {
    const { control } = stripe.fake
    const act = async (id: string, action: string, body?: Record<string, unknown>) => {
      const { status, body: answer } = await shop.act(id, action, body)
      if (status >= 300) throw new Error(`${action} answered ${JSON.stringify(answer)}`)
      return id
    }
    const buy = async () => (await shop.buy()).id
    const free = () => shop.give({ unit_amount: 0 })
    const afterPayment = async (pay: (session: string) => unknown) => {
      const id = await buy()
      pay(await shop.openSession(id))
      return act(id, 'reconcile')
    }
    const transfer = { amount: 10_000, method: 'bank_transfer', reference: 'Statement 4' }
    const disputed = await afterPayment((session) => {
      control.pay(session)
      control.closeDispute(control.dispute(session).id, 'lost')
    })

    const expected: [id: string, badge: string, sentence: string][] = [
      [await buy(), 'Not paid yet', 'You get the codes when the payment arrives.'],
      [await shop.give({ unit_amount: 500 }), 'Not paid yet', 'only they can change the order.'],
      [await free(), 'Waits for approval', 'These codes are free, so the organizers approve'],
      [await afterPayment(() => {}), 'Not paid yet', 'The payment page is open'],
      [
        await afterPayment((session) => control.payLater(session)),
        'Payment in progress',
        'Your payment is on its way.',
      ],
      [
        await afterPayment((session) => control.pay(session, { amount: 9_000 })),
        'Payment being checked',
        'You get the codes when they accept it.',
      ],
      [await act(await free(), 'approve'), 'Approved', 'The organizers approved it.'],
      [await shop.buyPaid(), 'Paid', 'This purchase is paid. The codes are ready.'],
      [await act(await buy(), 'mark-paid', transfer), 'Paid', 'This purchase is paid.'],
      [
        await act(await shop.buyPaid(), 'refund', { quantity: 1 }),
        'Partly refunded',
        '1 of 10 codes no longer works.',
      ],
      [await act(await buy(), 'cancel'), 'Not completed', 'was cancelled. Nothing was charged.'],
      [await act(await free(), 'cancel'), 'Not completed', 'To get free codes, order again.'],
      [
        await afterPayment((session) => control.expire(session)),
        'Not completed',
        'The payment page closed before anybody paid.',
      ],
      [
        await afterPayment((session) => {
          control.payLater(session)
          control.failAsync(session)
        }),
        'Not completed',
        'The payment did not succeed:',
      ],
      [await act(await shop.buyPaid(), 'refund'), 'Refunded', 'Your money was returned.'],
      [
        await act(await act(await buy(), 'mark-paid', transfer), 'refund'),
        'Refunded',
        'Your money was returned.',
      ],
      [disputed, 'Refunded', 'Your money was returned. The codes no longer work.'],
      [
        await act(await act(await free(), 'approve'), 'revoke'),
        'Taken back',
        'The organizers took the free codes back.',
      ],
    ]
    const { page } = await shop.visit()
    for (const [id, badge, sentence] of expected) {
      /* oxlint-disable no-await-in-loop -- one browser, one page after the other */
      const row = page.getByRole('row').filter({ has: page.locator(`a[href$="${id}"]`) })
      await row.getByText(badge, { exact: true }).waitFor()
      await row.getByRole('link').click()
      await page.locator('.page-head').getByText(badge, { exact: true }).waitFor()
      await expectText(page, sentence)
      await page.goBack()
      /* oxlint-enable no-await-in-loop */
    }
  })
})
