import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { OWN_MOTION, type Scope } from '../core/scope.ts'
import { invalidParameter, noSuch, StripeError } from '../core/stripe-error.ts'
import {
  buildSession,
  checkoutSessions,
  DAY_SECONDS,
  sessionPlans,
} from '../objects/checkout-session.ts'
import { customers } from '../objects/customer.ts'
import { buildLineItem, sessionLines, type WireLineItem } from '../objects/line-item.ts'
import { insertSetupIntent } from '../objects/setup-intent.ts'
import type { SessionCreateInput } from '../resources/checkout-session-params.ts'
import { amountProblem } from './check-amount.ts'
import { expireSession } from './expire-session.ts'

const MINIMUM_LIFE_SECONDS = 30 * 60
const MOST_LINES = 100

/**
 * Opens a Checkout Session and puts its expiry on the clock.
 *
 * @throws StripeError when a rule of Checkout is broken; nothing has been made then.
 * @see https://docs.stripe.com/api/checkout/sessions/create
 */
export function openSession(scope: Scope, input: SessionCreateInput): Stripe.Checkout.Session {
  checkMode(input)
  checkExpiry(input.expires_at, scope.world.clock.seconds())
  checkCustomer(scope, input)
  const lines = (input.line_items ?? []).map((line, index) => buildLineItem(scope, line, index))
  if (input.mode === 'payment') checkLines(input, lines)

  const session = scope.account.rows(checkoutSessions).insert(buildSession(scope, input, lines))
  scope.account.rows(sessionLines).insert({ id: session.id, items: lines })
  const expire = () => expireSession({ ...scope, cause: OWN_MOTION }, session.id)
  scope.account.rows(sessionPlans).insert({
    id: session.id,
    paymentIntent: input.payment_intent_data ?? {},
    setupIntent: input.setup_intent_data ?? {},
    cancelExpiry: scope.world.clock.at(session.expires_at * 1000, expire),
  })
  return input.mode === 'setup' ? withSetupIntent(scope, session, input) : session
}

function withSetupIntent(
  scope: Scope,
  session: Stripe.Checkout.Session,
  input: SessionCreateInput,
): Stripe.Checkout.Session {
  const intent = insertSetupIntent(scope, {
    customer: input.customer ?? null,
    description: input.setup_intent_data?.description ?? null,
    metadata: changeMetadata({}, input.setup_intent_data?.metadata),
    types: session.payment_method_types,
  })
  emitEvent(scope, 'setup_intent.created', intent)
  return changeRow(scope, checkoutSessions, session.id, { setup_intent: intent.id })
}

function checkMode({
  mode,
  line_items,
  payment_intent_data,
  setup_intent_data,
}: SessionCreateInput) {
  if (mode === 'subscription')
    throw invalidParameter('mode', 'The fake Stripe does not support subscriptions by Checkout.')
  const lines = line_items?.length ?? 0
  if (mode === 'payment' && lines === 0)
    throw invalidParameter('line_items', 'Missing required param: line_items.', 'parameter_missing')
  if (lines > MOST_LINES)
    throw invalidParameter(
      'line_items',
      `Line items can have at most ${MOST_LINES} entries in \`payment\` mode.`,
    )
  const misplaced =
    mode === 'payment'
      ? { setup_intent_data }
      : { payment_intent_data, line_items: lines === 0 ? undefined : line_items }
  for (const [param, value] of Object.entries(misplaced))
    if (value !== undefined)
      throw invalidParameter(param, `You can not pass \`${param}\` in \`${mode}\` mode.`)
}

function checkExpiry(expiresAt: number | undefined, now: number): void {
  if (expiresAt === undefined) return
  if (expiresAt - now < MINIMUM_LIFE_SECONDS)
    throw invalidParameter(
      'expires_at',
      'The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.',
    )
  if (expiresAt - now > DAY_SECONDS)
    throw invalidParameter(
      'expires_at',
      'The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.',
    )
}

function checkCustomer({ account }: Scope, { customer, customer_email }: SessionCreateInput): void {
  if (customer === undefined) return
  if (customer_email !== undefined)
    throw new StripeError(
      400,
      'invalid_request_error',
      'You may only specify one of these parameters: customer, customer_email.',
      { code: 'parameters_exclusive', param: 'customer_email' },
    )
  if (account.rows(customers).get(customer) === undefined)
    throw noSuch('customer', customer, 'customer')
}

function checkLines({ currency }: SessionCreateInput, lines: readonly WireLineItem[]): void {
  const expected = currency ?? lines[0]?.currency ?? ''
  lines.forEach((line, index) => {
    if (line.currency !== expected)
      throw invalidParameter(
        `line_items[${index}]`,
        `The price specified only supports \`${line.currency}\`. This doesn't match the expected currency: \`${expected}\`.`,
      )
  })
  const total = lines.reduce((sum, line) => sum + line.amount_total, 0)
  // Nothing to pay is allowed (no-cost orders); too little to charge is not.
  const problem = total === 0 ? null : amountProblem(total, expected, 'session')
  if (problem !== null) throw problem
}
