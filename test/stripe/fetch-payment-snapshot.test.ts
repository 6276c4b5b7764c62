import { afterEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../src/shared/logger.ts'
import { fetchPaymentSnapshot } from '../../src/stripe/fetch-payment-snapshot.ts'
import { useStripeScene } from './stripe-scene.ts'

const scene = useStripeScene()
const newRef = () => scene.newRef()

afterEach(() => scene.fake.control.clearFaults())

async function paidSession() {
  const ref = newRef()
  const session = await scene.open(ref)
  scene.fake.control.pay(session)
  return { ref, session }
}

describe('reading a purchase from Stripe', () => {
  it('sees an open session without a payment', async () => {
    const ref = newRef()
    const session = await scene.open(ref)
    const facts = await scene.facts(ref, session)
    expect(facts).toMatchObject({
      sessions: [{ attempt: 1, sessionId: session, status: 'open', paid: false }],
      payments: [],
      refunds: [],
      disputes: [],
      warnings: [],
    })
    // Null stays null: "None" as an id once matched another "None" (D11).
    expect(facts.sessions[0]?.paymentIntent).toBeNull()
    expect(facts.sessions[0]?.url).toContain(session)
  })

  it('sees what was paid, in our unit and in upper case', async () => {
    const { ref, session } = await paidSession()
    const { sessions, payments } = await scene.facts(ref, session)
    expect(sessions).toMatchObject([{ status: 'complete', paid: true }])
    expect(payments).toMatchObject([
      { attempt: 1, status: 'succeeded', amount: 10_000, received: 10_000, currency: 'EUR' },
    ])
    expect(payments[0]?.paymentIntent).toBe(sessions[0]?.paymentIntent)
  })

  it('takes "no payment required" for paid (D8)', async () => {
    const ref = newRef()
    const session = await scene.open(ref, { unitAmount: 0 })
    scene.fake.control.pay(session)
    const { sessions, payments } = await scene.facts(ref, session)
    expect(sessions).toMatchObject([{ status: 'complete', paid: true, paymentIntent: null }])
    expect(payments).toEqual([])
  })

  it('sees a bank debit that is under way as unpaid (D8)', async () => {
    const ref = newRef()
    const session = await scene.open(ref)
    scene.fake.control.payLater(session)
    const facts = await scene.facts(ref, session)
    expect(facts.sessions).toMatchObject([{ status: 'complete', paid: false }])
    expect(facts.payments).toMatchObject([{ status: 'processing', received: 0 }])
  })

  it('tells one decline from the next', async () => {
    const ref = newRef()
    const session = await scene.open(ref)
    scene.fake.control.decline(session, 'insufficient_funds')
    const first = (await scene.facts(ref, session)).payments[0]?.decline
    scene.fake.control.decline(session, 'insufficient_funds')
    const second = (await scene.facts(ref, session)).payments[0]?.decline
    expect(first).toMatchObject({ code: 'insufficient_funds', message: expect.any(String) })
    expect(second?.fact).not.toBe(first?.fact)
  })

  it('lists every refund, beyond the page and beyond the ten that a charge embeds', async () => {
    const { ref, session } = await paidSession()
    for (let i = 0; i < 105; i += 1) scene.fake.control.refund(session, { amount: 10 })
    const { refunds } = await scene.facts(ref, session)
    expect(new Set(refunds.map(({ id }) => id)).size).toBe(105)
    expect(refunds.reduce((sum, { amount }) => sum + amount, 0)).toBe(1_050)
  })

  it('lists refunds and disputes with their states', async () => {
    const { ref, session } = await paidSession()
    scene.fake.control.setRefundMode('pending', 1)
    scene.fake.control.refund(session, { amount: 2_000 })
    scene.fake.control.dispute(session)
    const { refunds, disputes } = await scene.facts(ref, session)
    expect(refunds).toMatchObject([{ status: 'pending', amount: 2_000, currency: 'EUR' }])
    expect(disputes).toMatchObject([{ status: 'needs_response', currency: 'EUR' }])
  })

  it('reads fraud warnings only when an event spoke of one', async () => {
    const { ref, session } = await paidSession()
    scene.fake.control.earlyFraudWarning(session, 'made_with_lost_card')
    const paths = () => scene.fake.control.requests().map(({ path }) => path)
    expect((await scene.facts(ref, session)).warnings).toEqual([])
    expect(paths()).not.toContain('/v1/radar/early_fraud_warnings')
    expect((await scene.facts(ref, session, { warnings: true })).warnings).toMatchObject([
      { fraudType: 'made_with_lost_card' },
    ])
  })

  it('takes a payment that an event spoke of only when Stripe says that it is of this purchase', async () => {
    const { ref, session } = await paidSession()
    const intent = (await scene.facts(ref, session)).payments[0]?.paymentIntent ?? ''
    const query = {
      sessions: [],
      paymentIntents: [],
      hintedPaymentIntents: [intent, 'pi_unknown'],
      warnings: false,
    }
    const own = await scene.gateway.readFacts({ ...query, ref })
    expect(own.payments).toMatchObject([{ paymentIntent: intent, attempt: null }])
    const other = { ...ref, purchaseId: 'bp_other' }
    const foreign = await scene.gateway.readFacts({ ...query, ref: other })
    expect(foreign).toMatchObject({ payments: [], refunds: [], disputes: [] })
  })

  it('reads payments that no session of the query leads to', async () => {
    const { ref, session } = await paidSession()
    const intent = (await scene.facts(ref, session)).payments[0]?.paymentIntent ?? ''
    const facts = await scene.gateway.readFacts({
      ref,
      sessions: [],
      paymentIntents: [{ paymentIntent: intent, attempt: 3 }],
      hintedPaymentIntents: [],
      warnings: false,
    })
    expect(facts.payments).toMatchObject([{ paymentIntent: intent, attempt: 3, received: 10_000 }])
  })

  it('fails when a payment that we know is gone: the key may be another account’s', async () => {
    const { ref, session } = await paidSession()
    const gone = { paymentIntents: [{ paymentIntent: 'pi_gone', attempt: null }] }
    await expect(scene.facts(ref, session, gone)).rejects.toMatchObject({
      code: 'stripe_refused',
      message: expect.stringContaining('pi_gone'),
    })
  })

  it('asks for nothing expanded, so that a minimal stand-in will do', async () => {
    const { ref, session } = await paidSession()
    scene.fake.control.clearRequests()
    await scene.facts(ref, session)
    const asked = scene.fake.control.requests()
    expect(asked.length).toBeGreaterThan(0)
    expect(asked.filter(({ params }) => 'expand' in params)).toEqual([])
  })

  it('leaves a session of another purchase alone, and says so', async () => {
    const { session } = await paidSession()
    const other = newRef()
    expect(await scene.facts(other, session)).toMatchObject({ sessions: [], payments: [] })
    expect(scene.log.join()).toContain('session of another purchase')
    expect(scene.log.join()).toContain(other.purchaseId)
  })

  it('does not believe an object of the other mode (D17)', async () => {
    const { ref, session } = await paidSession()
    const { stripe } = await scene.clients.connect('')
    const query = {
      ref,
      sessions: [{ attempt: 1, sessionId: session }],
      paymentIntents: [],
      hintedPaymentIntents: [],
      warnings: false,
    }
    const seen: string[] = []
    const mirror = {
      now: () => 0,
      saw: (objects: readonly { id: string }[]) => void seen.push(...objects.map(({ id }) => id)),
      settled: async () => {},
    }
    const logger = createLogger('silent')
    const reading = fetchPaymentSnapshot({ stripe, livemode: true, query, logger, mirror })
    await expect(reading).rejects.toMatchObject({ code: 'stripe_failed' })
    expect(seen).toEqual([])
  })

  it('fails as a whole when one list cannot be read', async () => {
    const { ref, session } = await paidSession()
    scene.fake.control.injectFault({
      path: '/v1/disputes',
      times: 'always',
      action: { kind: 'rate_limit', retry_after_seconds: 7 },
    })
    await expect(scene.facts(ref, session)).rejects.toMatchObject({
      code: 'stripe_unavailable',
      retryAfterSeconds: 7,
    })
  })
})
