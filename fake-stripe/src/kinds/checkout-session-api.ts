import type Stripe from 'stripe'
import { changeMetadata } from '../api/common-params.ts'
import {
  createdWithin,
  embeddedList,
  existing,
  itemListOperation,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { choice, group, text, timeRange } from '../api/params.ts'
import { changeRow, emitEvent } from '../core/changes.ts'
import { amountProblem } from '../core/currency.ts'
import { invalidParameter, noSuch, refused, StripeError } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { NO_REQUEST, type Scope } from '../core/scope.ts'
import {
  buildLineItem,
  buildSession,
  checkoutSessions,
  DAY_SECONDS,
  expireSession,
  sessionLines,
  sessionSettings,
  type WireLineItem,
} from './checkout-session.ts'
import {
  type SessionCreateInput,
  sessionCreateParams,
  sessionUpdateParams,
} from './checkout-session-params.ts'
import { customers } from './customer.ts'
import { insertSetupIntent } from './setup-intent.ts'

const PATH = '/v1/checkout/sessions'
const kind = checkoutSessions.name

/** @see https://docs.stripe.com/api/checkout/sessions */
export const checkoutSessionResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    line_items: { kind: 'item', list: true, load: firstLines },
    payment_intent: { kind: 'payment_intent' },
    setup_intent: { kind: 'setup_intent' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: sessionCreateParams,
      run: createSession,
    }),
    retrieveOperation(`${PATH}/:id`, checkoutSessions, 'session'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: sessionUpdateParams,
      run(call, { metadata }, { id = '' }) {
        const session = existing(call, checkoutSessions, id, 'session', 404)
        const merged = changeMetadata(session.metadata ?? {}, metadata)
        return changeRow(call, checkoutSessions, id, { metadata: merged })
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/expire`,
      returns: kind,
      params: group({}),
      run(call, _params, { id = '' }) {
        const { status } = existing(call, checkoutSessions, id, 'session', 404)
        if (status !== 'open')
          throw refused(
            `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of \`${status}\`.`,
          )
        return expireSession(call, id)
      },
    }),
    listOperation({
      path: PATH,
      table: checkoutSessions,
      filters: {
        created: timeRange().optional(),
        customer: text().optional(),
        customer_account: text().optional(),
        customer_details: group({ email: text() }).optional(),
        payment_intent: text().optional(),
        payment_link: text().optional(),
        status: choice('status', ['open', 'complete', 'expired']).optional(),
        subscription: text().optional(),
      },
      where({
        created,
        customer,
        customer_details: payer,
        payment_intent: intent,
        status,
        ...none
      }) {
        const within = createdWithin(created)
        // The fake has no payment links and no subscriptions by Checkout, so nothing matches these
        // filters.
        const impossible = Object.values(none).some((value) => value !== undefined)
        return (session) =>
          !impossible &&
          within(session) &&
          (customer ?? idOf(session.customer)) === idOf(session.customer) &&
          (intent ?? idOf(session.payment_intent)) === idOf(session.payment_intent) &&
          (payer === undefined || payer.email === session.customer_details?.email) &&
          (status ?? session.status) === session.status
      },
    }),
    itemListOperation({
      path: `${PATH}/:id/line_items`,
      kind: 'item',
      parents: checkoutSessions,
      param: 'session',
      itemsOf: linesOf,
    }),
  ],
}

function firstLines(scope: Scope, id: string) {
  return embeddedList(linesOf(scope, id), `${PATH}/${id}/line_items`)
}

function linesOf({ account }: Scope, id: string): WireLineItem[] {
  return account.rows(sessionLines).get(id)?.items ?? []
}

/** Line items have no endpoint of their own. */
export const lineItemResource: Resource = {
  kind: 'item',
  expandable: { price: { kind: 'price', inline: true } },
  operations: [],
}

const MIN_LIFETIME_SECONDS = 30 * 60
const MAX_LINE_ITEMS = 100

/**
 * Creates a Checkout Session and schedules its expiry.
 *
 * @throws StripeError when a rule of Checkout is broken; nothing is created then.
 * @see https://docs.stripe.com/api/checkout/sessions/create
 */
function createSession(scope: Scope, input: SessionCreateInput): Stripe.Checkout.Session {
  checkMode(input)
  checkSessionExpiry(input.expires_at, scope.world.clock.seconds())
  checkCustomer(scope, input)
  const lines = (input.line_items ?? []).map((line, index) => buildLineItem(scope, line, index))
  if (input.mode === 'payment') checkLineItems(input, lines)

  const session = scope.account.rows(checkoutSessions).insert(buildSession(scope, input, lines))
  scope.account.rows(sessionLines).insert({ id: session.id, items: lines })
  const expire = () => expireSession({ ...scope, cause: NO_REQUEST }, session.id)
  scope.account.rows(sessionSettings).insert({
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
    throw invalidParameter('mode', 'fake-stripe does not support subscriptions by Checkout.')
  const lines = line_items?.length ?? 0
  if (mode === 'payment' && lines === 0)
    throw invalidParameter('line_items', 'Missing required param: line_items.', 'parameter_missing')
  if (lines > MAX_LINE_ITEMS)
    throw invalidParameter(
      'line_items',
      `Line items can have at most ${MAX_LINE_ITEMS} entries in \`payment\` mode.`,
    )
  const misplaced =
    mode === 'payment'
      ? { setup_intent_data }
      : { payment_intent_data, line_items: lines === 0 ? undefined : line_items }
  for (const [param, value] of Object.entries(misplaced))
    if (value !== undefined)
      throw invalidParameter(param, `You can not pass \`${param}\` in \`${mode}\` mode.`)
}

function checkSessionExpiry(expiresAt: number | undefined, now: number): void {
  if (expiresAt === undefined) return
  if (expiresAt - now < MIN_LIFETIME_SECONDS)
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

function checkLineItems({ currency }: SessionCreateInput, lines: readonly WireLineItem[]): void {
  const expected = currency ?? lines[0]?.currency ?? ''
  lines.forEach((line, index) => {
    if (line.currency !== expected)
      throw invalidParameter(
        `line_items[${index}]`,
        `The price specified only supports \`${line.currency}\`. This doesn't match the expected currency: \`${expected}\`.`,
      )
  })
  const total = lines.reduce((sum, line) => sum + line.amount_total, 0)
  // A total of zero is allowed (no-cost orders); a total below the minimum charge is not.
  const problem = total === 0 ? null : amountProblem(total, expected, 'session')
  if (problem !== null) throw problem
}
