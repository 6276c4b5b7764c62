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

describe('a payment snapshot', () => {
  it('has an open session without a payment', async () => {
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
    // Null stays null: as the text "None" an id would match another "None" (D11).
    expect(facts.sessions[0]?.paymentIntent).toBeNull()
    expect(facts.sessions[0]?.url).toContain(session)
  })

  it('has the amount received in our minor units and the currency in upper case', async () => {
    const { ref, session } = await paidSession()
    const { sessions, payments } = await scene.facts(ref, session)
    expect(sessions).toMatchObject([{ status: 'complete', paid: true }])
    expect(payments).toMatchObject([
      { attempt: 1, status: 'succeeded', amount: 10_000, received: 10_000, currency: 'EUR' },
    ])
    expect(payments[0]?.paymentIntent).toBe(sessions[0]?.paymentIntent)
  })

  it('counts "no payment required" as paid (D8)', async () => {
    const ref = newRef()
    const session = await scene.open(ref, { unitAmount: 0 })
    scene.fake.control.pay(session)
    const { sessions, payments } = await scene.facts(ref, session)
    expect(sessions).toMatchObject([{ status: 'complete', paid: true, paymentIntent: null }])
    expect(payments).toEqual([])
  })

  it('counts a processing bank debit as unpaid (D8)', async () => {
    const ref = newRef()
    const session = await scene.open(ref)
    scene.fake.control.payLater(session)
    const facts = await scene.facts(ref, session)
    expect(facts.sessions).toMatchObject([{ status: 'complete', paid: false }])
    expect(facts.payments).toMatchObject([{ status: 'processing', received: 0 }])
  })

  it('has an id for each decline', async () => {
    const ref = newRef()
    const session = await scene.open(ref)
    scene.fake.control.decline(session, 'insufficient_funds')
    const first = (await scene.facts(ref, session)).payments[0]?.decline
    scene.fake.control.decline(session, 'insufficient_funds')
    const second = (await scene.facts(ref, session)).payments[0]?.decline
    expect(first).toMatchObject({ code: 'insufficient_funds', message: expect.any(String) })
    expect(second?.fact).not.toBe(first?.fact)
  })

  it('has all refunds, beyond one page and beyond the ten that a charge embeds', async () => {
    const { ref, session } = await paidSession()
    for (let i = 0; i < 105; i += 1) scene.fake.control.refund(session, { amount: 10 })
    const { refunds } = await scene.facts(ref, session)
    expect(new Set(refunds.map(({ id }) => id)).size).toBe(105)
    expect(refunds.reduce((sum, { amount }) => sum + amount, 0)).toBe(1_050)
  })

  it('has refunds and disputes with their statuses', async () => {
    const { ref, session } = await paidSession()
    scene.fake.control.setRefundMode('pending', 1)
    scene.fake.control.refund(session, { amount: 2_000 })
    scene.fake.control.dispute(session)
    const { refunds, disputes } = await scene.facts(ref, session)
    expect(refunds).toMatchObject([{ status: 'pending', amount: 2_000, currency: 'EUR' }])
    expect(disputes).toMatchObject([{ status: 'needs_response', currency: 'EUR' }])
  })

  it('has fraud warnings only when the query asks for them', async () => {
    const { ref, session } = await paidSession()
    scene.fake.control.earlyFraudWarning(session, 'made_with_lost_card')
    const paths = () => scene.fake.control.requests().map(({ path }) => path)
    expect((await scene.facts(ref, session)).warnings).toEqual([])
    expect(paths()).not.toContain('/v1/radar/early_fraud_warnings')
    expect((await scene.facts(ref, session, { warnings: true })).warnings).toMatchObject([
      { fraudType: 'made_with_lost_card' },
    ])
  })

  it('has a hinted payment only if its metadata names this purchase', async () => {
    const { ref, session } = await paidSession()
    const intent = (await scene.facts(ref, session)).payments[0]?.paymentIntent ?? ''
    const query = {
      takenAt: 0,
      sessions: [],
      paymentIntents: [],
      hintedPaymentIntents: [intent, 'pi_unknown'],
      warnings: false,
    }
    const own = await scene.gateway.fetchSnapshot({ ...query, owner: ref })
    expect(own.payments).toMatchObject([{ paymentIntent: intent, attempt: null }])
    const other = { ...ref, id: 'bp_other' }
    const foreign = await scene.gateway.fetchSnapshot({ ...query, owner: other })
    expect(foreign).toMatchObject({ payments: [], refunds: [], disputes: [] })
  })

  it('has payments that belong to no session of the query', async () => {
    const { ref, session } = await paidSession()
    const intent = (await scene.facts(ref, session)).payments[0]?.paymentIntent ?? ''
    const facts = await scene.gateway.fetchSnapshot({
      takenAt: 0,
      owner: ref,
      sessions: [],
      paymentIntents: [{ paymentIntent: intent, attempt: 3 }],
      hintedPaymentIntents: [],
      warnings: false,
    })
    expect(facts.payments).toMatchObject([{ paymentIntent: intent, attempt: 3, received: 10_000 }])
  })

  it('fails when a known payment is missing: the key may belong to another account', async () => {
    const { ref, session } = await paidSession()
    const gone = { paymentIntents: [{ paymentIntent: 'pi_gone', attempt: null }] }
    await expect(scene.facts(ref, session, gone)).rejects.toMatchObject({
      code: 'stripe_refused',
      message: expect.stringContaining('pi_gone'),
    })
  })

  it('expands no list, because Stripe cuts embedded lists off', async () => {
    const { ref, session } = await paidSession()
    scene.fake.control.clearRequests()
    await scene.facts(ref, session)
    const asked = scene.fake.control.requests()
    expect(asked.length).toBeGreaterThan(0)
    const expanded = asked.flatMap(({ params }) => Object.values(params['expand'] ?? {}))
    expect([...new Set(expanded)]).toEqual(['latest_charge'])
  })

  it('ignores a session of another purchase, with a log entry', async () => {
    const { session } = await paidSession()
    const other = newRef()
    expect(await scene.facts(other, session)).toMatchObject({ sessions: [], payments: [] })
    expect(scene.log.join()).toContain('names another purchase')
    expect(scene.log.join()).toContain(other.purchaseId)
  })

  it('fails for an object in the other mode (D17)', async () => {
    const { ref, session } = await paidSession()
    const { stripe } = await scene.clients.connect('')
    const query = {
      owner: ref,
      sessions: [{ attempt: 1, sessionId: session }],
      paymentIntents: [],
      hintedPaymentIntents: [],
      warnings: false,
    }
    const seen: string[] = []
    const recorder = {
      now: () => 0,
      record: (objects: readonly { id: string }[]) =>
        void seen.push(...objects.map(({ id }) => id)),
    }
    const logger = createLogger('silent')
    const snapshot = fetchPaymentSnapshot({ stripe, livemode: true, query, logger, recorder })
    await expect(snapshot).rejects.toMatchObject({ code: 'stripe_failed' })
    expect(seen).toEqual([])
  })

  it('fails when one list cannot be fetched', async () => {
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
