import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { type ChargeScene, openChargeScene } from '../billing/charges/charge-scene.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { openShop, RETURN_URLS, type Shop } from '../support/shop.ts'
import { useAppBehindProxy } from '../support/stripe-app.ts'
import type { HeldRequest } from '../support/stripe-proxy.ts'
import type { Body } from '../support/test-app.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { asAnotherRequest } from '../support/watch-transactions.ts'

const { app, stripe, proxy } = useAppBehindProxy()

let shop: Shop
beforeEach(async () => {
  shop = await openShop(app)
})
afterEach(() => stripe.fake.control.clearFaults())

const control = () => stripe.fake.control
const service = () => purchaseService(app.db, app.gateway)
const cause = { actor: { kind: 'system', id: 'test' }, cause: 'test' } as const
const OTHER_URLS = { ...RETURN_URLS, cancel_url: 'https://shop.example/elsewhere' }

const SESSIONS = /^\/v1\/checkout\/sessions$/
const SESSION = /^\/v1\/checkout\/sessions\/[^/]+$/
const EXPIRE = /^\/v1\/checkout\/sessions\/[^/]+\/expire$/

/** The state of each session of a purchase at Stripe. */
const sessions = (purchase: string) =>
  control()
    .list(shop.stripeKey, 'checkout.session')
    .map((session): Body => ({ ...session }))
    .filter((session) => session['client_reference_id'] === purchase)
const open = (purchase: string) =>
  sessions(purchase).flatMap(({ id, status }) => (status === 'open' ? [String(id)] : []))

/** What the timer does with the first attempt, when no request continues it any more. */
const timer = (purchaseId: string, attempt = 1) =>
  service().finishStaleAttempt({ conferenceId: shop.conference, purchaseId }, attempt)

/** Applies a webhook about a session, as the event worker does. */
async function webhook(purchase: string, session: string): Promise<void> {
  const conferenceId = shop.conference
  const snapshot = await service().handleCheckoutWebhook({
    conferenceId,
    purchaseId: purchase,
    sessionIds: [session],
    paymentIntents: [],
    fraudWarnings: false,
  })
  if (snapshot === null) throw new Error('The webhook is about no purchase')
  await withTenant(app.db, { conferenceId }, (trx) => service().applySnapshot(trx, snapshot, cause))
}

describe('an attempt whose session is unknown', () => {
  /** Stripe opens the page, and its answer is lost. */
  async function lostPage(): Promise<string> {
    const { id } = await shop.buy()
    const request = { method: 'POST', path: '/v1/checkout/sessions', times: 'always' } as const
    control().injectFault({ ...request, action: { kind: 'fail_after' } })
    expect((await shop.checkout(id)).status).toBe(503)
    control().clearFaults()
    expect(open(id)).toHaveLength(1)
    return id
  }

  async function expectPayable(id: string, session: string): Promise<void> {
    expect(open(id)).toEqual([session])
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'PROCESSING',
      checkout: { session_id: session },
    })
    control().pay(session)
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      flags: [],
      vouchers: { issued: 10, active: 10 },
    })
  }

  /** The session that a sponsor gets while the timer's request is held. */
  async function askDuring(id: string, held: HeldRequest): Promise<string> {
    const timed = timer(id)
    await held.reached
    const session = await shop.openSession(id)
    held.release()
    await timed
    return session
  }

  /** The timer decides to close the page, and Stripe rejects our key. */
  async function failToClose(id: string): Promise<void> {
    const action = { kind: 'refuse', status: 401 } as const
    const path = '/v1/checkout/sessions/*/expire'
    control().injectFault({ method: 'POST', path, times: 'always', action })
    await expect(timer(id)).rejects.toThrow(/key/)
    control().clearFaults()
  }

  it('is left open if a sponsor is given its URL while the timer asks Stripe for it (issue 8, line 11)', async () => {
    const id = await lostPage()
    const session = await askDuring(id, proxy.holdAnswer({ path: SESSIONS }))
    await expectPayable(id, session)
  })

  it('is closed by the timer, and a sponsor who asks meanwhile gets a page that can be paid (issue 8, line 11)', async () => {
    const id = await lostPage()
    const session = await askDuring(id, proxy.holdRequest({ method: 'POST', path: EXPIRE }))
    await expectPayable(id, session)
  })

  it('is closed by the timer if nobody asks for it, also when its first run dies after its decision (issue 8, line 11)', async () => {
    const id = await lostPage()
    await failToClose(id)
    await timer(id)
    expect(open(id)).toEqual([])
    expect((await shop.get(id)).status).toBe('FAILED')
  })

  it('is never open beside the page that a sponsor gets after the timer could not close it (issue 8, lines 7 and 11)', async () => {
    const id = await lostPage()
    await failToClose(id)
    const session = await shop.openSession(id)
    expect(open(id)).toEqual([session])
    await timer(id)
    await expectPayable(id, session)
  })
})

describe('a stale snapshot of an open page', () => {
  async function staleSnapshot(meanwhile: (id: string) => Promise<unknown>) {
    const { id } = await shop.buy()
    const first = await shop.openSession(id)
    const held = proxy.holdAnswer({ method: 'GET', path: SESSION })
    const reading = shop.act(id, 'reconcile')
    await held.reached
    await meanwhile(id)
    held.release()
    expect((await reading).status).toBe(200)
    return { id, first }
  }

  it('does not reopen the attempt that was cancelled meanwhile (issue 8, line 11)', async () => {
    const { id } = await staleSnapshot((purchase) => shop.act(purchase, 'cancel'))
    expect((await shop.get(id)).status).toBe('FAILED')
    const session = await shop.openSession(id)
    expect(open(id)).toEqual([session])
  })

  it('does not reopen the attempt that another one replaced meanwhile (issue 8, line 11)', async () => {
    const { id, first } = await staleSnapshot((purchase) => shop.checkout(purchase, OTHER_URLS))
    const { checkout } = await shop.get(id)
    expect(checkout).toMatchObject({ attempt: 2 })
    expect(open(id)).toEqual([checkout?.session_id])
    expect(checkout?.session_id).not.toBe(first)
  })
})

describe('a payment page', () => {
  it('that is complete and whose payment was canceled fails the purchase (issue 8, line 30)', async () => {
    const { id } = await shop.buy()
    control().payLater(await shop.openSession(id), { method: 'customer_balance' })
    expect((await shop.act(id, 'reconcile')).body.status).toBe('PROCESSING')
    const [intent] = control().list(shop.stripeKey, 'payment_intent')
    if (intent === undefined) throw new Error('There is no payment')
    // Stripe does so when nobody transfers the money.
    control().put(shop.stripeKey, [{ ...intent, status: 'canceled' }])
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'FAILED',
      failure: { code: 'async_payment_failed' },
      allowed_actions: ['checkout', 'mark_paid', 'reconcile'],
    })
  })

  /** The page is made at Stripe, and a webhook about it is applied before its answer arrives here. */
  async function settledMeanwhile(settle: (session: string) => unknown) {
    const { id } = await shop.buy()
    const held = proxy.holdAnswer({ method: 'POST', path: SESSIONS })
    const checkout = shop.checkout(id)
    await held.reached
    const [session = ''] = open(id)
    settle(session)
    await webhook(id, session)
    held.release()
    return { id, session, answer: await checkout }
  }

  it('that was paid while Stripe’s answer was under way is not opened again (D6; issue 8, line 30)', async () => {
    const { id, answer } = await settledMeanwhile((session) => control().pay(session))
    expect(answer).toMatchObject({ status: 409, body: { code: 'payment_in_progress' } })
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'PAID', flags: [] })
  })

  it('that expired while Stripe’s answer was under way is replaced by one that can be paid (issue 8, line 30)', async () => {
    const { id, session, answer } = await settledMeanwhile((made) => control().expire(made))
    expect(answer.status).toBe(200)
    expect(answer.body['session_id']).not.toBe(session)
    expect(open(id)).toEqual([answer.body['session_id']])
    expect(await shop.get(id)).toMatchObject({ status: 'PROCESSING', checkout: { attempt: 2 } })
  })
})

describe('a payment by a saved card', () => {
  let scene: ChargeScene
  beforeEach(async () => {
    scene = await openChargeScene(app, stripe, shop)
    scene.save()
  })

  const INTENTS = /^\/v1\/payment_intents$/
  const CONFIRM = /^\/v1\/payment_intents\/[^/]+\/confirm$/
  const pay = (purchase: string) =>
    app.request('POST', `${shop.path}/purchases/${purchase}/pay`, {
      as: shop.sponsorKey,
      body: {},
    })
  const intents = () =>
    control()
      .list(shop.stripeKey, 'payment_intent')
      .map((intent): Body => ({ ...intent }))
  const confirms = () =>
    control()
      .requests({ method: 'POST' })
      .filter(({ path }) => CONFIRM.test(path)).length

  it('that another payment makes needless while its intent is made is not charged', async () => {
    const { id } = await shop.buy()
    const held = proxy.holdAnswer({ method: 'POST', path: INTENTS })
    const paying = pay(id)
    await held.reached
    const before = confirms()
    const taken = control().call(shop.stripeKey, 'POST', '/v1/payment_intents', {
      amount: 10_000,
      currency: 'eur',
      confirm: true,
      payment_method: 'pm_card_visa',
      return_url: 'https://shop.example/',
      metadata: { purchase_id: id, conference_id: shop.conference },
    }) as Body
    const { body } = await shop.act(id, 'reconcile', { payment_intent: taken['id'] })
    expect(body.status).toBe('PAID')
    held.release()
    expect(await paying).toMatchObject({ status: 200, body: { status: 'PAID', flags: [] } })
    expect(confirms()).toBe(before)
    await timer(id)
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'PAID', flags: [] })
  })

  it('that was cancelled while its intent was made is not charged (issue 8, line 30)', async () => {
    const { id } = await shop.buy()
    const held = proxy.holdAnswer({ method: 'POST', path: INTENTS })
    const paying = pay(id)
    await held.reached
    const before = confirms()
    expect((await shop.act(id, 'cancel')).body.status).toBe('FAILED')
    held.release()
    expect(await paying).toMatchObject({ status: 409, body: { code: 'payment_in_progress' } })
    expect(confirms()).toBe(before)
    expect(intents()).toMatchObject([{ status: 'canceled', amount_received: 0 }])
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'FAILED' })
  })

  /** How many transactions wait for the lock of a row. */
  const waiting = async () => {
    const [row] = await app.rows<{ count: string }>(
      `select count(*) from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`,
    )
    return Number(row?.count)
  }

  it('whose intent is stored while the timer gives it up is not charged (issue 8, line 30)', async () => {
    const { id } = await shop.buy()
    const made = proxy.holdAnswer({ method: 'POST', path: INTENTS })
    const confirmed = proxy.holdRequest({ method: 'POST', path: CONFIRM })
    const paying = pay(id)
    await made.reached
    let timed: Promise<void> | undefined
    await withTenant(app.db, { conferenceId: shop.conference }, async (trx) => {
      await trx('bulk_purchases').where({ id }).forUpdate().select('id')
      made.release()
      await vi.waitUntil(async () => (await waiting()) === 1, POLL_OPTIONS)
      // The timer has seen an attempt without an intent; the intent is stored before its turn.
      timed = asAnotherRequest(() => timer(id))
      await vi.waitUntil(async () => (await waiting()) === 2, POLL_OPTIONS)
    })
    await timed
    expect(intents()).toMatchObject([{ status: 'canceled', amount_received: 0 }])
    confirmed.release()
    await paying
    expect(intents()).toMatchObject([{ status: 'canceled', amount_received: 0 }])
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'FAILED' })
  })

  it('that was cancelled before its confirmation arrived is not charged (issue 8, line 30)', async () => {
    const { id } = await shop.buy()
    const held = proxy.holdRequest({ method: 'POST', path: CONFIRM })
    const paying = pay(id)
    await held.reached
    expect((await shop.act(id, 'cancel')).body.status).toBe('FAILED')
    held.release()
    expect((await paying).status).toBeGreaterThanOrEqual(200)
    expect(intents()).toMatchObject([{ status: 'canceled', amount_received: 0 }])
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'FAILED' })
  })

  it('whose answer was lost is read, and not confirmed again, by a repeat (issue 8, line 30)', async () => {
    const { id } = await shop.buy()
    const confirm = { method: 'POST', path: '/v1/payment_intents/*/confirm' } as const
    control().injectFault({ ...confirm, times: 'always', action: { kind: 'fail_after' } })
    const read = { method: 'GET', path: '/v1/payment_intents/*' } as const
    control().injectFault({ ...read, times: 'always', action: { kind: 'cut' } })
    expect((await pay(id)).status).toBe(503)
    control().clearFaults()
    const before = confirms()
    expect(await pay(id)).toMatchObject({ status: 200, body: { status: 'PAID' } })
    expect(confirms()).toBe(before)
    expect(intents()).toMatchObject([{ status: 'succeeded', amount_received: 10_000 }])
  })
})
