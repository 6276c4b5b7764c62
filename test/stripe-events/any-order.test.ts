import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { PurchaseAnswer } from '../support/shop.ts'
import { type Order, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

/** One thing that payers, banks or staff do. It may need what an earlier one made. */
type Step = (order: Order, made: { refund?: string; dispute?: string }) => void

const pay: Step = ({ session }) => void app.fake.control.pay(session)
const decline: Step = ({ session }) => void app.fake.control.decline(session)
const payLater: Step = ({ session }) => void app.fake.control.payLater(session)
const settleDebit: Step = ({ session }) => void app.fake.control.settle(session)
const failDebit: Step = ({ session }) => void app.fake.control.failAsync(session)
const expire: Step = ({ session }) => void app.fake.control.expire(session)
const refund =
  (amount?: number): Step =>
  ({ session }) =>
    void app.fake.control.refund(session, amount === undefined ? {} : { amount })
const refundPending: Step = ({ session }, made) => {
  app.fake.control.setRefundMode('pending', 1)
  made.refund = app.fake.control.refund(session, { amount: 4_000 }).id
}
const settleRefund: Step = (_, { refund }) => void app.fake.control.settleRefund(refund ?? '')
const failRefund: Step = (_, { refund }) => void app.fake.control.failRefund(refund ?? '')
const dispute: Step = ({ session }, made) => {
  made.dispute = app.fake.control.dispute(session).id
}
const close =
  (outcome: 'won' | 'lost'): Step =>
  (_, { dispute }) =>
    void app.fake.control.closeDispute(dispute ?? '', outcome)
const warn: Step = ({ session }) => void app.fake.control.earlyFraudWarning(session)

const HISTORIES: [string, Step[]][] = [
  ['declined, paid, partly refunded twice', [decline, pay, refund(1_000), refund(2_500)]],
  ['paid and refunded in two parts', [pay, refund(3_000), refund()]],
  ['paid by bank debit, disputed and won', [payLater, settleDebit, dispute, close('won')]],
  ['paid, with a fraud warning, disputed and lost', [pay, warn, dispute, close('lost')]],
  ['paid, a refund that is pending and then fails', [pay, refundPending, failRefund]],
  ['paid, a refund that is pending and then succeeds', [pay, refundPending, settleRefund]],
  ['a bank debit that fails', [payLater, failDebit]],
  ['declined and expired', [decline, expire]],
]

/** The result, which must not depend on the order of the events. */
function outcome(purchase: PurchaseAnswer) {
  const { status, vouchers, flags, allowed_actions: actions } = purchase
  return {
    status,
    vouchers,
    flags: flags.map(({ code }) => code).toSorted(),
    actions,
    received: purchase['amount_received'],
    refunded: purchase['amount_refunded'],
    failure: purchase['failure'],
  }
}

/**
 * Runs a history on a new purchase. `choose(n)` returns a number below n. It picks how many deliveries
 * follow a step, and which events they deliver: any event that exists, also repeated ones. At the end,
 * all events that were not delivered yet are delivered.
 */
async function run(shop: WiredShop, steps: Step[], choose: (n: number) => number) {
  const before = new Set(eventIds(shop))
  const order = await app.order(shop)
  const made = {}
  const fresh = () => eventIds(shop).filter((id) => !before.has(id))
  const came = new Set<string>()
  const deliver = async (ids: string[]) => {
    for (const id of ids) came.add(id)
    // In parallel: Stripe does not wait for one answer before it sends the next event.
    await Promise.all(ids.map((id) => app.fake.control.deliver(id)))
    // The mirror is tested by converges.test.ts.
    while ((await app.workOn('purchase')) > 0);
  }
  for (const step of steps) {
    step(order, made)
    const known = fresh()
    await deliver(Array.from({ length: choose(3) }, () => known[choose(known.length)] ?? ''))
  }
  const left = fresh().filter((id) => !came.has(id))
  while (left.length > 0) await deliver(left.splice(choose(left.length), 1 + choose(2)))
  return outcome(await order.now())
}

const eventIds = (shop: WiredShop) =>
  app.fake.control.events({ account: shop.stripeKey }).map(({ id }) => id)

describe('the events of one history in any order, with repeats and delays', () => {
  let shop: WiredShop
  beforeAll(async () => {
    shop = await app.openWiredShop()
    app.fake.control.pause()
  })

  it.each(HISTORIES)(
    'lead to the same state: %s',
    async (_name, steps) => {
      // Reference: processed one by one, in the original order, after the whole history.
      const expected = await run(shop, steps, () => 0)
      await fc.assert(
        fc.asyncProperty(fc.infiniteStream(fc.nat()), async (choices) => {
          const choose = (n: number) => (n === 0 ? 0 : (choices.next().value ?? 0) % n)
          expect(await run(shop, steps, choose)).toEqual(expected)
        }),
        { numRuns: 2, endOnFailure: true },
      )
    },
    120_000,
  )
})

describe('the events of one history, processed by several workers in parallel', () => {
  it('lead to the same state', async () => {
    const shop = await app.openWiredShop()
    app.fake.control.resume()
    app.fake.control.injectWebhookFault({ kind: 'duplicate', copies: 3 })
    app.fake.control.injectWebhookFault({ kind: 'reorder', window: 5, ms: 20 })
    const orders = await Promise.all(Array.from({ length: 4 }, () => app.order(shop)))
    for (const { session } of orders) app.fake.control.pay(session)
    for (const { session } of orders) app.fake.control.refund(session, { amount: 2_000 })
    const workers = Array.from({ length: 3 }, async () => {
      await app.fake.control.waitForDeliveries()
      await app.drain()
    })
    await Promise.all(workers)
    app.fake.control.clearFaults()
    for (const { now } of orders) {
      expect(await now()).toMatchObject({
        status: 'PAID',
        amount_refunded: 2_000,
        vouchers: { issued: 10, active: 8, deactivated: 2 },
        flags: [],
      })
    }
  })
})
