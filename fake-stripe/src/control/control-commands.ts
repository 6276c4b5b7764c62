import type Stripe from 'stripe'
import { z } from 'zod'
import { apiFaultSchema } from '../api/api-faults.ts'
import { DECLINE_CODES } from '../core/declines.ts'
import { CLOSED_DISPUTE_STATUSES, OPEN_DISPUTE_STATUSES } from '../kinds/dispute.ts'
import { PAYMENT_METHOD_KINDS } from '../kinds/payment-method.ts'
import { SUBSCRIPTION_STATUSES } from '../kinds/subscription-billing.ts'
import { webhookFaultSchema } from '../webhooks/webhook-faults.ts'
import type { FakeStripeControl } from './fake-stripe-control.ts'

/** A control method as a command: `POST /_fake/{name}` and the buttons of the dashboard run it. */
export type Command = {
  /** @throws ZodError when the input is invalid. */
  run(control: FakeStripeControl, input: unknown): unknown
}

function command<S extends z.ZodType>(
  schema: S,
  run: (control: FakeStripeControl, input: z.output<S>) => unknown,
): Command {
  return { run: (control, input) => run(control, schema.parse(input)) }
}

// Numbers can be texts, so that an HTML form can send them.
const amount = z.coerce.number().int().min(0)
const money = { amount: amount.optional(), currency: z.string().toLowerCase().optional() }
const payer = { email: z.string().optional(), name: z.string().optional() }
const id = z.string().min(1)
const session = z.strictObject({ session: id })
const payment = z.strictObject({ payment: id })
const nothing = z.strictObject({})

const laterKinds = PAYMENT_METHOD_KINDS.filter((kind) => kind !== 'card')

const stripeObject = z.looseObject({ id, object: id })

const accountCommands = {
  'create-account': command(
    z.strictObject({
      secretKey: z.string().optional(),
      livemode: z.boolean().optional(),
      country: z.string().length(2).optional(),
      default_currency: z.string().length(3).optional(),
      name: z.string().optional(),
    }),
    (control, input) => control.createAccount(input),
  ),
  'create-key': command(
    z.strictObject({ account: id, kind: z.enum(['sk', 'rk']).optional() }),
    (control, { account, kind }) => ({ secretKey: control.createKey(account, kind) }),
  ),
  convert: command(
    z.strictObject({
      account: id,
      from: z.string().length(3),
      into: z.string().length(3),
      rate: z.coerce.number().positive(),
    }),
    (control, { account, ...conversion }) => control.convert(account, conversion),
  ),
  'revoke-key': command(z.strictObject({ key: id }), (control, { key }) => control.revokeKey(key)),
  advance: command(
    z.strictObject({ seconds: z.coerce.number().min(0) }),
    (control, { seconds }) => {
      control.clock.advance(seconds)
      return { now: control.clock.now().toISOString() }
    },
  ),
}

const paymentCommands = {
  pay: command(
    z.strictObject({ session: id, ...money, ...payer }),
    (control, { session: open, ...options }) => control.pay(open, options),
  ),
  decline: command(
    z.strictObject({ session: id, code: z.enum(DECLINE_CODES).optional() }),
    (control, { session: open, code }) => control.decline(open, code),
  ),
  'pay-later': command(
    z.strictObject({ session: id, method: z.enum(laterKinds).optional(), ...money, ...payer }),
    (control, { session: open, ...options }) => control.payLater(open, options),
  ),
  expire: command(session, (control, { session: open }) => control.expire(open)),
  settle: command(payment, (control, input) => control.settle(input.payment)),
  'fail-async': command(payment, (control, input) => control.failAsync(input.payment)),
  'fund-partially': command(z.strictObject({ payment: id, amount }), (control, input) =>
    control.fundPartially(input.payment, input.amount),
  ),
  refund: command(
    z.strictObject({
      payment: id,
      amount: amount.optional(),
      reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
      status: z.enum(['succeeded', 'pending', 'requires_action']).optional(),
      metadata: z.record(z.string(), z.string()).optional(),
    }),
    (control, { payment: paid, ...request }) => control.refund(paid, request),
  ),
  'set-refund-mode': command(
    z.strictObject({
      mode: z.enum(['succeeded', 'pending', 'requires_action']),
      times: z.coerce.number().int().min(1).optional(),
    }),
    (control, { mode, times }) => control.setRefundMode(mode, times),
  ),
  'settle-refund': command(z.strictObject({ refund: id }), (control, { refund }) =>
    control.settleRefund(refund),
  ),
  'fail-refund': command(
    z.strictObject({ refund: id, reason: z.string().optional() }),
    (control, { refund, reason }) => control.failRefund(refund, reason),
  ),
  dispute: command(
    z.strictObject({
      payment: id,
      amount: amount.optional(),
      reason: z.string().optional(),
      status: z.enum(OPEN_DISPUTE_STATUSES).optional(),
    }),
    (control, { payment: paid, ...request }) => control.dispute(paid, request),
  ),
  'update-dispute': command(
    z.strictObject({ dispute: id, status: z.enum(OPEN_DISPUTE_STATUSES) }),
    (control, { dispute, status }) => control.updateDispute(dispute, status),
  ),
  'close-dispute': command(
    z.strictObject({ dispute: id, outcome: z.enum(CLOSED_DISPUTE_STATUSES) }),
    (control, { dispute, outcome }) => control.closeDispute(dispute, outcome),
  ),
  'early-fraud-warning': command(
    z.strictObject({ payment: id, fraud_type: z.string().optional() }),
    (control, input) => control.earlyFraudWarning(input.payment, input.fraud_type),
  ),
}

const billingCommands = {
  'renew-card': command(
    z.strictObject({
      payment_method: id,
      exp_month: z.coerce.number().int().min(1).max(12).optional(),
      exp_year: z.coerce.number().int().optional(),
      last4: z.string().length(4).optional(),
    }),
    (control, { payment_method: method, ...renewal }) => control.renewCard(method, renewal),
  ),
  'set-subscription-status': command(
    z.strictObject({ subscription: id, status: z.enum(SUBSCRIPTION_STATUSES) }),
    (control, { subscription, status }) => control.setSubscriptionStatus(subscription, status),
  ),
  authenticate: command(
    z.strictObject({ setup_intent: id, outcome: z.enum(['passed', 'failed']).optional() }),
    (control, { setup_intent: intent, outcome }) => control.authenticate(intent, outcome),
  ),
}

const webhookCommands = {
  'add-webhook-endpoint': command(
    z.strictObject({
      account: id,
      url: z.url({ protocol: /^https?$/ }),
      secret: z.string().startsWith('whsec_').optional(),
      events: z.array(z.string()).min(1).optional(),
    }),
    (control, input) => control.addWebhookEndpoint(input),
  ),
  'roll-webhook-secret': command(
    z.strictObject({ endpoint: id, overlap_seconds: z.coerce.number().min(0).optional() }),
    (control, { endpoint, overlap_seconds: overlap }) => ({
      secret: control.rollWebhookSecret(endpoint, overlap),
    }),
  ),
  pause: command(nothing, (control) => control.pause()),
  resume: command(nothing, (control) => control.resume()),
  deliver: command(
    z.strictObject({ event: id, endpoint: z.string().optional() }),
    (control, { event, endpoint }) => control.deliver(event, endpoint),
  ),
  'deliver-in-order': command(z.strictObject({ events: z.array(id) }), (control, { events }) =>
    control.deliverInOrder(events),
  ),
  'wait-for-deliveries': command(
    z.strictObject({ timeout_ms: z.coerce.number().int().min(0).optional() }),
    (control, { timeout_ms: timeoutMs }) => control.waitForDeliveries({ timeoutMs }),
  ),
  'inject-webhook-fault': command(webhookFaultSchema, (control, input) =>
    control.injectWebhookFault(input),
  ),
  'inject-fault': command(apiFaultSchema, (control, input) => control.injectFault(input)),
  'clear-faults': command(z.strictObject({ id: z.string().optional() }), (control, input) =>
    control.clearFaults(input.id),
  ),
  'clear-requests': command(nothing, (control) => control.clearRequests()),
}

const catalogCommands = {
  'delete-price': command(z.strictObject({ price: id }), (control, { price }) =>
    control.deletePrice(price),
  ),
}

const payoutCommands = {
  'pay-out': command(
    z.strictObject({ account: id, currency: z.string().length(3).optional() }),
    (control, { account, currency }) => control.payOut(account, currency),
  ),
  'settle-payout': command(z.strictObject({ payout: id }), (control, { payout }) =>
    control.settlePayout(payout),
  ),
  'fail-payout': command(
    z.strictObject({ payout: id, code: z.string().optional() }),
    (control, { payout, code }) => control.failPayout(payout, code),
  ),
}

const count = z.coerce.number().int().min(1).max(1_000_000)
const time = z.coerce.number().int().min(0).optional()
const seed = z.strictObject({ account: id, count, from: time, to: time })

// The responses have no ids: a benchmark lists the objects anyway.
const seedCommands = {
  'seed-customers': command(seed, (control, { account, count: wanted, ...span }) => ({
    count: control.seedCustomers(account, wanted, span).length,
  })),
  'seed-coupons': command(seed, (control, { account, count: wanted, ...span }) => ({
    count: control.seedCoupons(account, wanted, span).length,
  })),
  'seed-products': command(seed, (control, { account, count: wanted, ...span }) => ({
    count: control.seedProducts(account, wanted, span).length,
  })),
}

const objectCommands = {
  call: command(
    z.strictObject({
      account: id,
      method: z.enum(['GET', 'POST', 'DELETE']),
      path: z.string().startsWith('/v1/'),
      params: z.record(z.string(), z.unknown()).optional(),
    }),
    (control, { account, method, path, params }) => control.call(account, method, path, params),
  ),
  put: command(
    z.strictObject({
      account: id,
      objects: z.array(stripeObject),
      event: z.string().optional(),
    }),
    (control, { account, objects, event }) =>
      // Every event type is allowed, also one that the SDK does not know.
      control.put(account, objects, event as Stripe.Event.Type | undefined),
  ),
}

export const COMMANDS: ReadonlyMap<string, Command> = new Map(
  Object.entries({
    ...accountCommands,
    ...catalogCommands,
    ...paymentCommands,
    ...payoutCommands,
    ...seedCommands,
    ...billingCommands,
    ...webhookCommands,
    ...objectCommands,
  }),
)
