import { readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { useInboxApp, type WiredShop } from '../stripe-events/inbox-app.ts'

// Each row of docs/purchase-machine.md once, by actions of a sponsor, staff, a payer or a bank. Stripe
// sends signed webhooks about them.

const app = useInboxApp()
let shop: WiredShop
beforeAll(async () => {
  shop = await app.openWiredShop()
})

const seen = new Set<string>()

/** The history as `FROM EVENT TO`, oldest first. It also collects the rows for the last test. */
async function steps(purchase: string): Promise<string[]> {
  type Step = { from: string; event: string; to: string }
  const url = `${shop.path}/purchases/${purchase}/transitions?limit=100`
  const { body } = await app.request<{ data: Step[] }>('GET', url)
  const found = body.data.toReversed().map(({ from, event, to }) => `${from} ${event} ${to}`)
  for (const step of found) seen.add(step)
  return found
}

const control = () => app.fake.control
const settle = () => app.settle()

/** A PENDING purchase whose session Stripe opened, but whose response was lost. */
async function unknownSession(): Promise<{ id: string; session: string }> {
  const { id } = await shop.buy()
  const trouble = { path: '/v1/checkout/sessions', times: 'always' } as const
  control().injectFault({ ...trouble, action: { kind: 'fail_after' } })
  expect((await shop.checkout(id)).status).toBe(503)
  control().clearFaults()
  const session = control()
    .list(shop.stripeKey, 'checkout.session')
    .find((object) => 'client_reference_id' in object && object.client_reference_id === id)
  if (session === undefined) throw new Error('Stripe did not open a session')
  return { id, session: session.id }
}

/** A payment that staff take in Stripe's dashboard, without a checkout. */
function payOutsideCheckout(purchase: string, amount: number): void {
  control().call(shop.stripeKey, 'POST', '/v1/payment_intents', {
    amount,
    currency: 'eur',
    confirm: true,
    payment_method: 'pm_card_visa',
    return_url: 'https://shop.example/',
    metadata: { purchase_id: purchase, conference_id: shop.conference },
  })
}

function lastCharge(): string {
  const [charge] = control().list(shop.stripeKey, 'charge')
  if (charge === undefined) throw new Error('There is no charge')
  return charge.id
}

const paid = () => app.paidOrder(shop)

describe('a purchase', () => {
  it('is opened, declined, paid, partially and fully refunded', async () => {
    const { id, session } = await app.order(shop)
    control().decline(session)
    await settle()
    control().pay(session)
    await settle()
    control().setRefundMode('pending', 1)
    const pending = control().refund(session, { amount: 2_000 })
    await settle()
    control().settleRefund(pending.id)
    await settle()
    control().refund(session)
    await settle()
    expect(await steps(id)).toEqual([
      'PENDING CHECKOUT_OPENED PROCESSING',
      'PROCESSING PAYMENT_DECLINED PROCESSING',
      'PROCESSING PAYMENT_SUCCEEDED PAID',
      'PAID REFUND_PENDING PAID',
      'PAID PARTIALLY_REFUNDED PAID',
      'PAID REFUNDED REFUNDED',
    ])
  })

  it('fails with its bank debit, is opened again, gets other return URLs, and expires', async () => {
    const { id, session } = await app.order(shop)
    control().payLater(session)
    await settle()
    control().failAsync(session)
    await settle()
    await shop.openSession(id)
    // The event of the closed session arrives after the next one is open, as usual.
    control().pause()
    const { body } = await shop.checkout(id, {
      success_url: 'https://shop.example/elsewhere',
      cancel_url: 'https://shop.example/',
    })
    control().resume()
    await settle()
    control().expire(String(body['session_id']))
    await settle()
    expect(await steps(id)).toEqual([
      'PENDING CHECKOUT_OPENED PROCESSING',
      'PROCESSING PAYMENT_PENDING PROCESSING',
      'PROCESSING PAYMENT_FAILED FAILED',
      'FAILED CHECKOUT_OPENED PROCESSING',
      'PROCESSING CHECKOUT_OPENED PROCESSING',
      'PROCESSING CHECKOUT_EXPIRED FAILED',
    ])
  })

  it('is cancelled before and after its checkout was opened', async () => {
    const { id } = await shop.buy()
    await shop.act(id, 'cancel')
    expect(await steps(id)).toEqual(['PENDING CANCELLED FAILED'])
    const open = await app.order(shop)
    control().pause()
    await shop.act(open.id, 'cancel')
    control().resume()
    await settle()
    expect(await steps(open.id)).toContain('PROCESSING CANCELLED FAILED')
  })

  it('is free, approved and withdrawn', async () => {
    const body = { quantity: 2, unit_amount: 0, description: 'Speakers' }
    const made = await app.request<{ id: string }>('POST', `${shop.path}/purchases`, { body })
    await shop.act(made.body.id, 'approve')
    await shop.act(made.body.id, 'revoke')
    expect(await steps(made.body.id)).toEqual([
      'PENDING COMP_APPROVED PAID',
      'PAID COMP_REVOKED REFUNDED',
    ])
  })

  it('is paid outside Stripe, before and after its checkout', async () => {
    const transfer = { amount: 10_000, method: 'bank_transfer', reference: 'RE-1' }
    const { id } = await shop.buy()
    await shop.act(id, 'mark-paid', transfer)
    expect(await steps(id)).toEqual(['PENDING PAYMENT_RECORDED PAID'])
    const open = await app.order(shop)
    control().pause()
    await shop.act(open.id, 'mark-paid', transfer)
    control().resume()
    await settle()
    expect(await steps(open.id)).toContain('PROCESSING PAYMENT_RECORDED PAID')
    const failed = await app.order(shop)
    control().expire(failed.session)
    await settle()
    await shop.act(failed.id, 'mark-paid', transfer)
    expect(await steps(failed.id)).toContain('FAILED PAYMENT_RECORDED PAID')
  })

  it('gets another amount and a fraud warning, and fails when that payment is refunded', async () => {
    const { id, session } = await app.order(shop)
    control().pay(session, { amount: 9_000 })
    await settle()
    control().earlyFraudWarning(session)
    await settle()
    control().refund(session)
    await settle()
    expect((await steps(id)).slice(1)).toEqual([
      'PROCESSING PAYMENT_MISMATCHED PROCESSING',
      'PROCESSING FRAUD_WARNED PROCESSING',
      'PROCESSING PAYMENT_FAILED FAILED',
    ])
  })

  it('is disputed: won, partially lost, lost', async () => {
    const won = await paid()
    const first = control().dispute(won.session)
    await settle()
    control().closeDispute(first.id, 'won')
    await settle()
    expect((await steps(won.id)).slice(2)).toEqual([
      'PAID DISPUTE_OPENED PAID',
      'PAID DISPUTE_WON PAID',
    ])

    const part = await paid()
    const second = control().dispute(part.session, { amount: 3_000 })
    control().closeDispute(second.id, 'lost')
    await settle()
    expect((await steps(part.id)).at(-1)).toBe('PAID DISPUTE_LOST PAID')

    const lost = await paid()
    const third = control().dispute(lost.session)
    control().closeDispute(third.id, 'lost')
    await settle()
    expect((await steps(lost.id)).at(-1)).toBe('PAID DISPUTE_LOST REFUNDED')
  })

  it('keeps its codes when a pending refund fails', async () => {
    const { id, session } = await paid()
    control().setRefundMode('pending', 1)
    const refund = control().refund(session, { amount: 1_000 })
    await settle()
    control().failRefund(refund.id)
    await settle()
    expect((await steps(id)).at(-1)).toBe('PAID REFUND_FAILED PAID')
  })

  it('is reinstated when its refund failed later', async () => {
    const { id, session } = await paid()
    control().earlyFraudWarning(session)
    await settle()
    const refund = control().refund(session)
    await settle()
    control().failRefund(refund.id)
    await settle()
    const resolved = await shop.act(id, 'resolve-flag', {
      code: 'refund_failed',
      action: 'reinstate',
      note: 'they keep their tickets',
    })
    expect(resolved.body).toMatchObject({ status: 'PAID', vouchers: { active: 10 } })
    expect((await steps(id)).slice(2)).toEqual([
      'PAID FRAUD_WARNED PAID',
      'PAID REFUNDED REFUNDED',
      'REFUNDED REFUND_FAILED REFUNDED',
      'REFUNDED REINSTATED PAID',
    ])
  })

  it('is paid twice, before and after its refund', async () => {
    const twice = await paid()
    payOutsideCheckout(twice.id, 10_000)
    await settle()
    expect((await steps(twice.id)).at(-1)).toBe('PAID SECOND_PAYMENT PAID')

    const refunded = await paid()
    control().refund(refunded.session)
    await settle()
    payOutsideCheckout(refunded.id, 10_000)
    await settle()
    expect((await steps(refunded.id)).at(-1)).toBe('REFUNDED SECOND_PAYMENT REFUNDED')
  })

  it('is disputed and gets a fraud warning after its refund', async () => {
    const { id, session } = await paid()
    control().refund(session)
    await settle()
    const about = { charge: lastCharge(), payment_intent: (await shop.get(id))['payment_intent'] }
    const dispute = { ...DISPUTE, ...about, id: `dp_${id.slice(3)}` }
    control().put(shop.stripeKey, dispute, 'charge.dispute.created')
    const warning = { ...WARNING, ...about, id: `issfr_${id.slice(3)}` }
    control().put(shop.stripeKey, warning, 'radar.early_fraud_warning.created')
    await settle()
    const after = (await steps(id)).slice(3)
    expect(after.toSorted()).toEqual([
      'REFUNDED DISPUTE_OPENED REFUNDED',
      'REFUNDED FRAUD_WARNED REFUNDED',
    ])
  })

  it.each(['won', 'lost'])('is refunded when a dispute is %s: no code changes', async (end) => {
    const { id, session } = await paid()
    control().refund(session)
    await settle()
    const about = { charge: lastCharge(), payment_intent: (await shop.get(id))['payment_intent'] }
    const dispute = { ...DISPUTE, ...about, id: `dp_${end}${id.slice(3)}` }
    control().put(shop.stripeKey, dispute, 'charge.dispute.created')
    await settle()
    control().put(shop.stripeKey, { ...dispute, status: end }, 'charge.dispute.closed')
    await settle()
    expect((await steps(id)).at(-1)).toBe(`REFUNDED DISPUTE_${end.toUpperCase()} REFUNDED`)
    expect((await shop.get(id)).vouchers).toMatchObject({ deactivated: 10, frozen: 0 })
  })

  it('has failed when payments arrive: another amount waits, the right one makes it PAID', async () => {
    const { id } = await shop.buy()
    await shop.act(id, 'cancel')
    payOutsideCheckout(id, 9_000)
    await settle()
    control().earlyFraudWarning(lastCharge())
    await settle()
    payOutsideCheckout(id, 10_000)
    await settle()
    expect((await steps(id)).slice(1)).toEqual([
      'FAILED PAYMENT_MISMATCHED FAILED',
      'FAILED FRAUD_WARNED FAILED',
      'FAILED PAYMENT_SUCCEEDED PAID',
    ])
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { active: 10 } })
  })
})

describe('a purchase whose session is known only by a webhook', () => {
  it.each([
    ['PENDING PAYMENT_SUCCEEDED PAID', (session: string) => void control().pay(session)],
    ['PENDING PAYMENT_PENDING PROCESSING', (session: string) => void control().payLater(session)],
    ['PENDING CHECKOUT_EXPIRED FAILED', (session: string) => void control().expire(session)],
    [
      'PENDING PAYMENT_FAILED FAILED',
      (session: string) => {
        control().payLater(session)
        control().failAsync(session)
      },
    ],
  ])('%s', async (step, happen) => {
    const { id, session } = await unknownSession()
    // All of it happens before the first webhook arrives.
    control().pause()
    happen(session)
    control().resume()
    await settle()
    expect(await steps(id)).toEqual([step])
  })

  it('PENDING PAYMENT_MISMATCHED PENDING, and a fraud warning', async () => {
    const { id, session } = await unknownSession()
    control().pause()
    control().pay(session, { amount: 9_000 })
    control().resume()
    await settle()
    control().earlyFraudWarning(session)
    await settle()
    expect(await steps(id)).toEqual([
      'PENDING PAYMENT_MISMATCHED PENDING',
      'PENDING FRAUD_WARNED PENDING',
    ])
  })
})

// A session that we marked as expired is never fetched again, so no external action leads there.
// apply-snapshot.test.ts tests such a snapshot.
const NOT_FROM_OUTSIDE = ['FAILED PAYMENT_PENDING PROCESSING']

describe('the table of the machine', () => {
  it('has no row that these tests do not cover', async () => {
    const page = await readFile('docs/purchase-machine.md', 'utf8')
    const rows = page
      .split('\n')
      .map((line) => /^\| ([A-Z]+) \| ([A-Z_]+)[^|]*\| ([A-Z]+) \|/.exec(line))
      .flatMap((match) => (match === null ? [] : [`${match[1]} ${match[2]} ${match[3]}`]))
    expect(rows.length).toBeGreaterThan(35)
    const missing = new Set(rows.filter((row) => !seen.has(row) && !NOT_FROM_OUTSIDE.includes(row)))
    expect([...missing]).toEqual([])
  })
})

const DISPUTE = {
  object: 'dispute',
  amount: 10_000,
  currency: 'eur',
  created: 1_760_000_000,
  livemode: false,
  metadata: {},
  reason: 'fraudulent',
  status: 'needs_response',
}

const WARNING = {
  object: 'radar.early_fraud_warning',
  actionable: true,
  created: 1_760_000_000,
  fraud_type: 'made_with_stolen_card',
  livemode: false,
}
