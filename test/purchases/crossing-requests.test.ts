import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import type { PaymentGateway } from '../../src/payments/payment-gateway.ts'
import type { PaymentSnapshot } from '../../src/payments/payment-snapshot.ts'
import { insertAttempt } from '../../src/payments/payment-store.ts'
import { changePurchase, fulfillPurchase, ownerOf } from '../../src/purchases/change-purchase.ts'
import {
  finishCancel,
  finishCheckout,
  finishStalePurchaseAttempt,
} from '../../src/purchases/pay-purchase.ts'
import { getAggregate, lockAggregate } from '../../src/purchases/purchase-store.ts'
import { reconcilePurchase } from '../../src/purchases/reconcile-purchase.ts'
import { useTestDatabase } from '../support/test-database.ts'
import {
  cause,
  NOTHING,
  openAttempt,
  openScene,
  PAID,
  payment,
  refund,
  type Scene,
  session,
} from './purchase-scene.ts'

const database = useTestDatabase()
let db: Db
beforeAll(() => {
  db = connect(database.connectionString)
})
afterAll(() => db.destroy())

const unused = () => Promise.reject(new Error('not part of this test'))
const gatewayOf = (methods: Partial<PaymentGateway>): PaymentGateway => ({
  openCheckout: unused,
  closeCheckout: unused,
  findSession: unused,
  openIntent: unused,
  confirmIntent: unused,
  closeIntent: unused,
  refund: unused,
  fetchSnapshot: () => Promise.resolve(NOTHING),
  ...methods,
})
const depsOf = (methods: Partial<PaymentGateway>) => ({
  db,
  gateway: gatewayOf(methods),
  cards: { choose: unused },
  clock: { now: () => new Date() },
})
const urls = { successUrl: 'https://example.org/ok', cancelUrl: 'https://example.org/no' }
const records = async ({ run, ref }: Scene) => (await run((trx) => getAggregate(trx, ref))).records

describe('a stale snapshot', () => {
  it('still brings a payment that only an event had named and no newer snapshot contains', async () => {
    const scene = await openScene(db)
    let release: (snapshot: PaymentSnapshot) => void = () => {}
    let isAsked = false
    const slow = gatewayOf({
      fetchSnapshot: () =>
        new Promise((resolve) => {
          isAsked = true
          release = resolve
        }),
    })
    // An event of a payment that staff took in Stripe's dashboard: no row leads to it.
    const hints = { paymentIntents: ['pi_dashboard'] }
    const byEvent = reconcilePurchase({ db, gateway: slow }, scene.ref, cause, hints)
    await expect.poll(() => isAsked).toBe(true)
    const open = {
      ...NOTHING,
      sessions: [session({ status: 'open', paid: false, paymentIntent: null })],
    }
    const byTimer = gatewayOf({ fetchSnapshot: () => Promise.resolve(open) })
    await reconcilePurchase({ db, gateway: byTimer }, scene.ref, cause)

    const paid = payment({ paymentIntent: 'pi_dashboard', attempt: null })
    release({
      ...open,
      payments: [paid],
      refunds: [refund('re_1', 300, { paymentIntent: 'pi_dashboard' })],
    })
    await byEvent
    expect(await scene.view()).toMatchObject({
      status: 'PAID',
      payment_intent: 'pi_dashboard',
      amount_refunded: 300,
      vouchers: { issued: 10, active: 7 },
    })
  })
})

describe('a fraud warning in a stale snapshot', () => {
  it('still raises its flag: the newer snapshot did not ask for warnings', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    let release: (snapshot: PaymentSnapshot) => void = () => {}
    let isAsked = false
    const slow = gatewayOf({
      fetchSnapshot: () =>
        new Promise((resolve) => {
          release = resolve
          isAsked = true
        }),
    })
    const hints = { fraudWarnings: true }
    const byEvent = reconcilePurchase({ db, gateway: slow }, scene.ref, cause, hints)
    await expect.poll(() => isAsked).toBe(true)
    await reconcilePurchase({ db, gateway: gatewayOf({}) }, scene.ref, cause)
    const warnings = [{ id: 'issfr_1', paymentIntent: 'pi_1', fraudType: 'made_with_stolen_card' }]
    release({ ...NOTHING, ...PAID, warnings })
    await byEvent
    expect((await scene.view()).flags).toMatchObject([{ code: 'early_fraud_warning' }])
  })
})

describe('two sessions for one attempt, because the key was rolled while one was requested', () => {
  const secondAttempt = async (scene: Scene) => {
    const owner = ownerOf(scene.ref)
    const [first] = (await records(scene)).attempts
    await scene.run(async (trx) => {
      await changePurchase(trx, scene.ref, { type: 'attempt', attempt: 1, event: 'EXPIRED' }, cause)
      if (first === undefined) throw new Error('The scene has an attempt')
      const { kind, params } = first
      await insertAttempt(trx, owner, { attempt: 2, requestedBy: 'test', kind, params } as never)
    })
  }
  const made = (sessionId: string) =>
    ({
      kind: 'made',
      session: { sessionId, url: 'https://pay', expiresAt: new Date(Date.now() + 86_400_000) },
      status: 'open',
    }) as const

  /** Attempt 2 gets its session while Stripe makes another one for it. */
  const crossing = async () => {
    const scene = await openScene(db)
    await secondAttempt(scene)
    const closed: string[] = []
    const deps = depsOf({
      openCheckout: async () => {
        await openAttempt(scene, 2)
        return made('cs_other')
      },
      closeCheckout: (_, id) => {
        closed.push(id)
        return Promise.resolve({ status: 'expired' })
      },
    })
    return { scene, closed, deps }
  }

  it('leave one that can be paid: the other is closed at Stripe', async () => {
    const { scene, closed, deps } = await crossing()
    const page = await finishCheckout(deps, scene.ref, { number: 2, inserted: null }, urls, cause)
    expect(page.session_id).toBe('cs_2')
    expect(closed).toEqual(['cs_other'])
  })

  it('bring the payment of the other, if the payer completed it before it could be closed', async () => {
    const { scene, deps } = await crossing()
    deps.gateway.closeCheckout = async () => ({ status: 'complete', paymentIntent: 'pi_other' })
    deps.gateway.fetchSnapshot = async ({ hintedPaymentIntents }) => ({
      ...NOTHING,
      payments: hintedPaymentIntents.map((paymentIntent) =>
        payment({ paymentIntent, attempt: null }),
      ),
    })
    const chosen = { number: 2, inserted: null }
    await expect(finishCheckout(deps, scene.ref, chosen, urls, cause)).rejects.toMatchObject({
      code: 'payment_in_progress',
    })
    expect(await scene.view()).toMatchObject({ status: 'PAID', payment_intent: 'pi_other' })
  })

  it('leave the one whose URL the sponsor got when the timer made the other', async () => {
    const { scene, closed, deps } = await crossing()
    await finishStalePurchaseAttempt(deps, scene.ref, 2)
    expect(closed).toEqual(['cs_other'])
    expect(await scene.view()).toMatchObject({
      status: 'PROCESSING',
      checkout: { session_id: 'cs_2' },
    })
  })
})

describe('a cancellation', () => {
  it('also closes the page that a parallel checkout opened: no FAILED purchase has one', async () => {
    const scene = await openScene(db)
    const closed: string[] = []
    const deps = depsOf({
      closeCheckout: async (_, id) => {
        if (closed.length === 0) {
          const expired = { type: 'attempt', attempt: 1, event: 'EXPIRED' } as const
          await scene.run((trx) => changePurchase(trx, scene.ref, expired, cause))
          await openAttempt(scene, 2)
        }
        closed.push(id)
        return { status: 'expired' }
      },
    })
    await finishCancel(deps, scene.ref, cause)
    expect(closed).toEqual(['cs_1', 'cs_2'])
    expect((await records(scene)).attempts.map(({ state }) => state)).toEqual([
      'expired',
      'cancelled',
    ])
    expect(await scene.view()).toMatchObject({ status: 'FAILED', failure: { code: 'cancelled' } })
  })
})

describe('a saved bank account', () => {
  it('whose debit Stripe cancels while it is pending frees the purchase for another payment', async () => {
    const scene = await openScene(db)
    await scene.run(async (trx) => {
      await changePurchase(trx, scene.ref, { type: 'attempt', attempt: 1, event: 'EXPIRED' }, cause)
      const params = {
        description: '10',
        amount: 1000,
        currency: 'EUR',
        sponsorId: null,
        named: null,
      }
      const row = { attempt: 2, kind: 'saved_card', params, requestedBy: 'test' } as const
      await insertAttempt(trx, ownerOf(scene.ref), row)
      const changes = { paymentIntentId: 'pi_2' }
      const opened = { type: 'attempt', attempt: 2, event: 'OPENED', changes } as const
      await changePurchase(trx, scene.ref, opened, cause)
    })
    const debit = { attempt: 2, received: 0 }
    await scene.read({ payments: [payment({ ...debit, status: 'processing' })] })
    expect(await scene.view()).toMatchObject({ status: 'PROCESSING' })
    const end = await scene.read({ payments: [payment({ ...debit, status: 'canceled' })] })
    expect(end).toMatchObject({
      status: 'FAILED',
      allowed_actions: expect.arrayContaining(['checkout']),
    })
  })
})

describe('codes that a PAID purchase lacks', () => {
  it('are issued inactive as far as refunds require, although their batch was lost', async () => {
    const scene = await openScene(db)
    await scene.read({ ...PAID, refunds: [refund('re_1', 300)] })
    await scene.run(async (trx) => {
      await trx('vouchers').where({ conference_id: scene.ref.conferenceId }).delete()
      await trx('voucher_batches').where({ conference_id: scene.ref.conferenceId }).delete()
    })
    await scene.run(async (trx) => fulfillPurchase(trx, await lockAggregate(trx, scene.ref)))
    expect((await scene.view()).vouchers).toMatchObject({ issued: 10, active: 7, deactivated: 3 })
  })
})
