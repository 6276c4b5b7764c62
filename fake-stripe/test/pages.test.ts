import { expect, it } from 'vitest'
import { formatAmount } from '../src/core/currency.ts'
import { html, safeHref } from '../src/pages/page-layout.ts'
import { type FakeUnderTest, idOf, sessionParams, startFake } from './fake-under-test.ts'
import { startReceiver } from './webhook-receiver.ts'

/** Presses a button of a form, without following the redirect. */
function press(url: string, fields: Record<string, string> = {}, headers = {}) {
  const body = new URLSearchParams(fields)
  return fetch(url, { method: 'POST', body, headers, redirect: 'manual' })
}

async function open({ stripe }: FakeUnderTest, changes = {}) {
  const session = await stripe.checkout.sessions.create(sessionParams(changes))
  if (session.url === null) throw new Error('no page')
  return { id: session.id, url: session.url }
}

const page = async (url: string) => (await fetch(url)).text()

it('escapes every value and allows only web links', () => {
  const evil = `<script>"x" & 'y'</script>`
  expect(html`<p title="${evil}">${[html`<b>${evil}</b>`]}${null}${false}${7}</p>`.markup).toBe(
    '<p title="&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;"><b>&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;</b>7</p>',
  )
  expect(safeHref('javascript:alert(1)')).toBe('#')
  expect(safeHref('https://a.example/')).toBe('https://a.example/')
})

it.each([
  [123_450, 'usd', '$1,234.50'],
  [500, 'jpy', '¥500'],
  [1250, 'kwd', 'KWD 1.250'],
  [500, 'isk', 'ISK 5.00'],
])('writes %i %s as %s', (amount, currency, text) => {
  expect(formatAmount(amount, currency).replaceAll(/\s/g, ' ')).toBe(text)
})

it('shows merchant, items and total, self-contained and without scripts', async () => {
  const test = await startFake()
  const { url } = await open(test, {
    line_items: [
      {
        quantity: 3,
        price_data: {
          currency: 'jpy',
          unit_amount: 1500,
          product_data: { name: '<b>Voucher & more</b>' },
        },
      },
    ],
  })
  const answer = await fetch(url)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toContain('text/html')
  expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
  const text = await answer.text()
  expect(text).toContain('Pay PyCon Example')
  expect(text).toContain('&lt;b&gt;Voucher &amp; more&lt;/b&gt;')
  expect(text).toContain('¥1,500')
  expect(text).toContain('Pay ¥4,500')
  for (const button of ['Decline card', 'Pay later by bank debit', 'Cancel and return'])
    expect(text).toContain(`>${button}</button>`)
  expect(text).not.toMatch(/<script|src=|<link/)
})

it('pays and leads to the success URL with the session’s id in it', async () => {
  const test = await startFake()
  const { id, url } = await open(test)
  const answer = await press(`${url}/pay`, { email: 'pat@example.com', name: 'Pat' })
  expect(answer.status).toBe(303)
  expect(answer.headers.get('location')).toBe(`https://shop.example/thanks?session=${id}`)
  expect(await test.stripe.checkout.sessions.retrieve(id)).toMatchObject({
    payment_status: 'paid',
    customer_details: { email: 'pat@example.com', name: 'Pat' },
  })
  expect(await page(url)).toContain('everything is paid')
})

it('pays once when the button is pressed twice', async () => {
  const test = await startFake()
  const { url } = await open(test)
  const answers = await Promise.all([press(`${url}/pay`), press(`${url}/pay`)])
  expect(answers.map(({ status }) => status)).toEqual([303, 303])
  expect((await test.stripe.charges.list()).data).toHaveLength(1)
})

it('declines, says why and lets the payer try again', async () => {
  const test = await startFake()
  const { id, url } = await open(test)
  const answer = await press(`${url}/decline`, { code: 'insufficient_funds' })
  const back = new URL(answer.headers.get('location') ?? '', url).toString()
  const text = await page(back)
  expect(text).toContain('role="alert"')
  expect(text).toContain('Your card has insufficient funds.')
  expect((await test.stripe.checkout.sessions.retrieve(id)).status).toBe('open')
  await press(`${url}/pay`)
  expect((await test.stripe.checkout.sessions.retrieve(id)).payment_status).toBe('paid')
})

it('pays later by bank debit', async () => {
  const test = await startFake()
  const { id, url } = await open(test)
  const answer = await press(`${url}/bank`)
  expect(answer.headers.get('location')).toContain(id)
  expect(await test.stripe.checkout.sessions.retrieve(id)).toMatchObject({
    status: 'complete',
    payment_status: 'unpaid',
  })
  expect(await page(url)).toContain('on its way through the bank')
})

it('cancels back to the merchant and leaves the session open', async () => {
  const test = await startFake()
  const { id, url } = await open(test)
  const answer = await press(`${url}/cancel`)
  expect(answer.headers.get('location')).toBe('https://shop.example/back')
  expect((await test.stripe.checkout.sessions.retrieve(id)).status).toBe('open')
})

it('shows that a session has expired, and accepts no payment for it', async () => {
  const test = await startFake()
  const { id, url } = await open(test)
  await test.stripe.checkout.sessions.expire(id)
  expect(await page(url)).toContain('This page has expired')
  const answer = await press(`${url}/pay`)
  expect([answer.status, answer.headers.get('location')]).toEqual([303, `/c/pay/${id}`])
  expect((await test.stripe.checkout.sessions.retrieve(id)).status).toBe('expired')
})

it('answers 404 for an unknown session', async () => {
  const { fake } = await startFake()
  const answer = await fetch(`${fake.url}/c/pay/cs_test_none`)
  expect(answer.status).toBe(404)
  expect(await answer.text()).toContain('Unknown checkout session')
})

it('refuses form posts of other web sites', async () => {
  const test = await startFake()
  const { id, url } = await open(test)
  const answer = await press(`${url}/pay`, {}, { 'sec-fetch-site': 'cross-site' })
  expect(answer.status).toBe(409)
  expect((await test.stripe.checkout.sessions.retrieve(id)).status).toBe('open')
})

it('shows the receipt of a charge', async () => {
  const test = await startFake()
  const { id } = await open(test)
  test.control.pay(id)
  const [charge] = (await test.stripe.charges.list()).data
  expect(await page(charge?.receipt_url ?? '')).toContain('€1,000.00')
  expect((await fetch(`${test.fake.url}/receipts/ch_none`)).status).toBe(404)
})

it('shows everything of an account on the dashboard, the newest account first', async () => {
  const test = await startFake()
  const { fake, control, account } = test
  control.addWebhookEndpoint({ account, url: 'http://127.0.0.1:1/hook' })
  control.injectWebhookFault({ kind: 'drop' })
  const { id } = await open(test)
  const { payment_intent: intent } = control.pay(id)
  const refund = control.refund(idOf(intent), { amount: 500 })
  const dispute = control.dispute(idOf(intent))
  const text = await page(fake.url)
  for (const part of [account, id, idOf(intent), refund.id, dispute.id, 'http://127.0.0.1:1/hook'])
    expect(text).toContain(part)
  for (const part of [
    'checkout.session.completed',
    'dropped',
    'POST /v1/checkout/sessions',
    '€5.00',
  ])
    expect(text).toContain(part)
  control.createAccount({ name: 'Second' })
  expect(await page(fake.url)).not.toContain(id)
  expect(await page(`${fake.url}/?account=${account}`)).toContain(id)
})

it('explains how to start when there is no account', async () => {
  const { startFakeStripe } = await import('../src/start-fake-stripe.ts')
  const fake = await startFakeStripe({ nodeEnv: 'test' })
  try {
    expect(await page(fake.url)).toContain('No account yet')
  } finally {
    await fake.close()
  }
})

it('runs a whole story with the buttons of the dashboard', async () => {
  const test = await startFake()
  const { fake, control, account, stripe } = test
  const receiver = await startReceiver()
  const button = async (command: string, fields: Record<string, string>) => {
    const answer = await press(`${fake.url}/_dashboard/${command}`, {
      _account: account,
      ...fields,
    })
    expect(answer.status).toBe(303)
    const back = new URL(answer.headers.get('location') ?? '', fake.url)
    expect(back.searchParams.get('problem')).toBeNull()
    expect(back.searchParams.get('account')).toBe(account)
    return page(back.toString())
  }
  expect(await button('add-webhook-endpoint', { account, url: receiver.url })).toContain('whsec_')
  const { id } = await open(test)
  await button('pay-later', { session: id })
  await button('settle', { payment: id })
  await button('refund', { payment: id, amount: '500' })
  await button('refund', { payment: id, amount: '', status: 'pending' })
  const [pending] = (await stripe.refunds.list()).data
  expect(pending).toMatchObject({ amount: 99_500, status: 'pending' })
  await button('fail-refund', { refund: pending?.id ?? '' })
  await button('dispute', { payment: id, amount: '' })
  const [dispute] = (await stripe.disputes.list()).data
  await button('close-dispute', { dispute: dispute?.id ?? '', outcome: 'won' })
  await button('inject-fault', {
    'action[kind]': 'rate_limit',
    method: 'POST',
    path: '/v1/**',
    times: '1',
  })
  await button('inject-fault', {
    'action[kind]': 'slow',
    'action[ms]': '5',
    path: '/v1/**',
    times: '1',
  })
  await button('inject-webhook-fault', { kind: 'delay', 'types[0]': '', ms: '', times: '1' })
  expect(control.faults()).toMatchObject({
    api: [{ times: 1 }, { action: { ms: 5 } }],
    webhooks: [{ kind: 'delay' }],
  })
  await button('clear-faults', {})
  await button('advance', { seconds: '60' })
  await control.waitForDeliveries()
  expect(receiver.types()).toContain('charge.dispute.closed')
  const [event] = control.events({ account, type: 'refund.failed' })
  await button('deliver', { event: event?.id ?? '' })
  expect(receiver.types().filter((type) => type === 'refund.failed')).toHaveLength(2)
})

it('says why a button did not work', async () => {
  const test = await startFake()
  const { id } = await open(test)
  test.control.pay(id)
  const answer = await press(`${test.fake.url}/_dashboard/pay`, { session: id })
  const text = await page(new URL(answer.headers.get('location') ?? '', test.fake.url).toString())
  expect(text).toContain(`Session ${id} is complete`)
  const unknown = await press(`${test.fake.url}/_dashboard/nothing`)
  expect(unknown.headers.get('location')).toContain('There+is+no+command+nothing')
})

it('looks up the request that an error names', async () => {
  const { fake, stripe } = await startFake()
  const error = await stripe.customers.retrieve('cus_none').catch((caught: unknown) => caught)
  const log = (error as { raw: { request_log_url: string } }).raw.request_log_url
  expect(log.startsWith(fake.url)).toBe(true)
  const text = await page(log)
  expect(text).toContain('The request that was asked for')
  expect(text).toContain('/v1/customers/cus_none')
})

it('pages every list of the dashboard, forwards and back', async () => {
  const test = await startFake()
  const { fake, control, account, stripe } = test
  for (let count = 0; count < 30; count += 1) await stripe.customers.create({})
  const events = control.events({ account }).map(({ id }) => id)
  const requests = control.requests({ account }).map(({ id }) => id)
  for (const [list, ids] of [
    ['events', events.toReversed()],
    ['requests', requests.toReversed()],
  ] as const) {
    const shown = (text: string) => ids.filter((id) => text.includes(id))
    const overview = await page(`${fake.url}/?account=${account}`)
    expect(shown(overview)).toEqual(ids.slice(0, 10))
    const first = await page(`${fake.url}/?account=${account}&list=${list}`)
    expect(shown(first)).toEqual(ids.slice(0, 25))
    const link = (text: string, label: string) => {
      const match = new RegExp(`href="([^"]+)">${label}</a>`).exec(text)
      return `${fake.url}${(match?.[1] ?? '').replaceAll('&amp;', '&')}`
    }
    expect(first).not.toContain('>Newer</a>')
    const second = await page(link(first, 'Older'))
    expect(shown(second)).toEqual(ids.slice(25))
    expect(second).not.toContain('>Older</a>')
    expect(shown(await page(link(second, 'Newer')))).toEqual(ids.slice(0, 25))
    expect(shown(await page(link(second, 'Newest')))).toEqual(ids.slice(0, 25))
  }
  const afterRestart = await page(`${fake.url}/?account=${account}&list=events&after=evt_none`)
  expect(afterRestart).toContain(events.at(-1))
})

it('shows one list only, and returns to it after a button', async () => {
  const test = await startFake()
  const { fake, account } = test
  const { id } = await open(test)
  const text = await page(`${fake.url}/?account=${account}&list=sessions`)
  expect(text).toContain(id)
  expect(text).not.toContain('API requests')
  const fields = { _account: account, _list: 'sessions', session: id }
  const answer = await press(`${fake.url}/_dashboard/expire`, fields)
  expect(answer.headers.get('location')).toContain(`account=${account}&list=sessions&notice=`)
})

it('names the column in each cell, so that a phone can show rows as cards', async () => {
  const test = await startFake()
  const { id } = await open(test)
  const text = await page(test.fake.url)
  expect(text).toContain(`data-label="Session"><div><code>${id}</code></div>`)
  expect(text).toContain('@media (max-width: 45rem)')
})
