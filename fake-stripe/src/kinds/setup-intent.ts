import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  choice,
  emptyable,
  flag,
  group,
  ignored,
  list,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
  url,
} from '../api/params.ts'
import { changeRow, emitEvent, givenFields, requireRow } from '../core/changes.ts'
import { cardDecline, type DeclineCode } from '../core/declines.ts'
import { InvalidState, refused, StripeError } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from './customer.ts'
import { paymentMethods, resolvePaymentMethod, testBehaviours } from './payment-method.ts'
import { attachPaymentMethod } from './saved-payment-method.ts'

export const setupIntents = defineTable<Stripe.SetupIntent>('setup_intent')

type SetupIntentInput = {
  customer: string | null
  description: string | null
  metadata: Record<string, string>
  types: string[]
  method?: string | null
  usage?: 'off_session' | 'on_session' | undefined
}

/** Stores a new setup intent, without an event. */
export function insertSetupIntent(
  { account, world }: Scope,
  input: SetupIntentInput,
): Stripe.SetupIntent {
  const id = fakeId('seti_1')
  return account.rows(setupIntents).insert({
    id,
    object: 'setup_intent',
    allowed_payment_method_types: null,
    application: null,
    automatic_payment_methods: { enabled: true },
    cancellation_reason: null,
    client_secret: `${id}_secret_${fakeId('', 31)}`,
    created: world.clock.seconds(),
    customer: input.customer,
    description: input.description,
    excluded_payment_method_types: null,
    flow_directions: null,
    last_setup_error: null,
    latest_attempt: null,
    livemode: account.livemode,
    mandate: null,
    metadata: input.metadata,
    next_action: null,
    on_behalf_of: null,
    payment_method: input.method ?? null,
    payment_method_configuration_details: null,
    payment_method_options: {},
    payment_method_types: input.types,
    single_use_mandate: null,
    status: input.method ? 'requires_confirmation' : 'requires_payment_method',
    usage: input.usage ?? 'off_session',
  })
}

// The parameters that all requests about a setup intent share.
const common = {
  excluded_payment_method_types: ignored(),
  flow_directions: ignored(),
  payment_method: text().optional(),
  payment_method_configuration: ignored(),
  payment_method_data: unsupported('raw payment method data; use a test payment method'),
  payment_method_options: ignored(),
  attach_to_self: unsupported('setup intents of the account itself'),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  description: text({ max: 1000 }).optional(),
}

/** `POST /v1/setup_intents` */
const setupCreateParams = group({
  ...common,
  allowed_payment_method_types: list(text()).optional(),
  automatic_payment_methods: group({
    allow_redirects: choice('allow_redirects', ['always', 'never']).optional(),
    enabled: flag(),
  }).optional(),
  confirm: flag().optional(),
  confirmation_token: unsupported('confirmation tokens'),
  mandate_data: ignored(),
  metadata: metadataParam().optional(),
  on_behalf_of: unsupported('connected accounts'),
  return_url: url().optional(),
  single_use: unsupported('single-use mandates'),
  usage: choice('usage', ['off_session', 'on_session']).optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.SetupIntentCreateParams>)

/** `POST /v1/setup_intents/:id` */
const setupUpdateParams = group({
  ...common,
  allowed_payment_method_types: emptyable(list(text())).optional(),
  metadata: metadataParam().optional(),
} satisfies ShapeOf<Stripe.SetupIntentUpdateParams>)

/** `POST /v1/setup_intents/:id/confirm` */
const setupConfirmParams = group({
  allowed_payment_method_types: ignored(),
  confirmation_token: unsupported('confirmation tokens'),
  mandate_data: ignored(),
  payment_method: text().optional(),
  payment_method_data: unsupported('raw payment method data; use a test payment method'),
  payment_method_options: ignored(),
  return_url: url().optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.SetupIntentConfirmParams>)

type SetupUpdateInput = z.output<typeof setupUpdateParams>

const PATH = '/v1/setup_intents'
const kind = setupIntents.name

/** @see https://docs.stripe.com/api/setup_intents */
export const setupIntentResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    payment_method: { kind: 'payment_method' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: setupCreateParams,
      run(call, { payment_method: wanted, customer, ...params }) {
        if (customer !== undefined) existing(call, customers, customer, 'customer')
        const method =
          wanted === undefined ? null : resolvePaymentMethod(call, wanted, 'payment_method').id
        const intent = insertSetupIntent(call, {
          customer: customer ?? null,
          description: params.description ?? null,
          metadata: changeMetadata({}, params.metadata),
          types: params.allowed_payment_method_types ?? ['card'],
          method,
          usage: params.usage,
        })
        emitEvent(call, 'setup_intent.created', intent)
        return params.confirm ? confirmSetup(call, intent.id) : intent
      },
    }),
    retrieveOperation(`${PATH}/:id`, setupIntents, 'intent'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: setupUpdateParams,
      run: (call, params, { id = '' }) => updateSetup(call, id, params),
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/confirm`,
      returns: kind,
      params: setupConfirmParams,
      run(call, { payment_method: method }, { id = '' }) {
        existing(call, setupIntents, id, 'intent', 404)
        return confirmSetup(call, id, method)
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/cancel`,
      returns: kind,
      params: group({
        cancellation_reason: choice('cancellation_reason', [
          'abandoned',
          'duplicate',
          'requested_by_customer',
        ]).optional(),
      }),
      run(call, { cancellation_reason: reason = null }, { id = '' }) {
        const intent = existing(call, setupIntents, id, 'intent', 404)
        if (!OPEN_SETUP.includes(intent.status)) throw wrongSetupState(intent, 'cancel')
        const canceled = changeRow(call, setupIntents, id, {
          status: 'canceled',
          cancellation_reason: reason,
          next_action: null,
        })
        emitEvent(call, 'setup_intent.canceled', canceled)
        return canceled
      },
    }),
    listOperation({
      path: PATH,
      table: setupIntents,
      filters: {
        attach_to_self: flag().optional(),
        created: timeRange().optional(),
        customer: text().optional(),
        customer_account: unsupported('customer accounts'),
        payment_method: text().optional(),
      },
      where({ attach_to_self: self, created, customer, payment_method: method }) {
        const within = createdWithin(created)
        return (intent) =>
          self !== true && // the fake has none of these
          within(intent) &&
          (customer ?? idOf(intent.customer)) === idOf(intent.customer) &&
          (method ?? idOf(intent.payment_method)) === idOf(intent.payment_method)
      },
    }),
  ],
}

/** Stripe sends no event for an update. */
function updateSetup(call: Call, id: string, params: SetupUpdateInput): Stripe.SetupIntent {
  const intent = existing(call, setupIntents, id, 'intent', 404)
  const { customer, description, payment_method: wanted } = params
  if (!OPEN_SETUP.includes(intent.status) && (customer ?? wanted) !== undefined)
    throw wrongSetupState(intent, 'update')
  if (customer !== undefined) existing(call, customers, customer, 'customer')
  return changeRow(call, setupIntents, id, {
    ...givenFields({ customer, description }),
    metadata: changeMetadata(intent.metadata ?? {}, params.metadata),
    ...(wanted === undefined
      ? {}
      : {
          payment_method: resolvePaymentMethod(call, wanted, 'payment_method').id,
          status: 'requires_confirmation',
        }),
  })
}

/** The statuses in which a setup intent can be changed, confirmed or canceled. */
const OPEN_SETUP = ['requires_payment_method', 'requires_confirmation', 'requires_action']

/**
 * Asks the bank whether a payment method can be saved.
 *
 * @throws StripeError 402 when the bank refuses; the event is sent nevertheless.
 * @see https://docs.stripe.com/api/setup_intents/confirm
 */
function confirmSetup(call: Call, id: string, wanted?: string): Stripe.SetupIntent {
  const intent = requireRow(call, setupIntents, id)
  if (!OPEN_SETUP.includes(intent.status)) throw wrongSetupState(intent, 'confirm')
  const chosen = wanted ?? idOf(intent.payment_method)
  if (chosen === null)
    throw refused(
      "You cannot confirm this SetupIntent because it's missing a payment method. Update the SetupIntent with a payment method and then confirm it again.",
      { code: 'setup_intent_unexpected_state', setup_intent: intent },
    )
  const method = resolvePaymentMethod(call, chosen, 'payment_method')
  refuseOthersMethod(intent, method)
  const behaviour = call.account.rows(testBehaviours).get(method.id)
  const decline = call.decline ?? (behaviour?.savable === false ? behaviour.decline : null)
  if (decline !== null) throw declineSetup(call, intent, method, decline)
  if (behaviour?.needsAuthentication === true)
    return requireSetupAuthentication(call, intent, method)
  return succeedSetup(call, id, method)
}

/**
 * The payer passed or failed the bank's authentication. @throws InvalidState when none is required.
 */
export function authenticateSetup(scope: Scope, id: string, passed: boolean): Stripe.SetupIntent {
  const intent = requireRow(scope, setupIntents, id)
  if (intent.status !== 'requires_action')
    throw new InvalidState(`${id} is ${intent.status} and waits for no authentication`)
  const method = requireRow(scope, paymentMethods, idOf(intent.payment_method))
  if (passed) return succeedSetup(scope, id, method)
  return failSetup(scope, intent, {
    code: 'setup_intent_authentication_failure',
    doc_url: 'https://docs.stripe.com/error-codes/setup-intent-authentication-failure',
    message:
      'The latest attempt to set up the payment method has failed because authentication failed.',
    payment_method: method,
    type: 'invalid_request_error',
  })
}

function wrongSetupState(intent: Stripe.SetupIntent, action: string): StripeError {
  return refused(
    `You cannot ${action} this SetupIntent because it has a status of ${intent.status}.`,
    { code: 'setup_intent_unexpected_state', setup_intent: intent },
  )
}

function refuseOthersMethod(intent: Stripe.SetupIntent, method: Stripe.PaymentMethod): void {
  const owner = idOf(method.customer)
  if (owner === null || owner === idOf(intent.customer)) return
  throw refused(
    `The provided PaymentMethod cannot be used because it belongs to a different Customer. You may only use ${method.id} with Customer ${owner}.`,
    { param: 'payment_method' },
  )
}

function succeedSetup(scope: Scope, id: string, method: Stripe.PaymentMethod): Stripe.SetupIntent {
  const customer = idOf(requireRow(scope, setupIntents, id).customer)
  if (customer !== null) attachPaymentMethod(scope, method.id, customer, 'payment_method', 400)
  const intent = changeRow(scope, setupIntents, id, {
    status: 'succeeded',
    payment_method: method.id,
    latest_attempt: fakeId('setatt_1'),
    last_setup_error: null,
    next_action: null,
  })
  emitEvent(scope, 'setup_intent.succeeded', intent)
  return intent
}

function requireSetupAuthentication(
  call: Call,
  { id }: Stripe.SetupIntent,
  method: Stripe.PaymentMethod,
) {
  const intent = changeRow(call, setupIntents, id, {
    status: 'requires_action',
    payment_method: method.id,
    latest_attempt: fakeId('setatt_1'),
    next_action: { type: 'use_stripe_sdk', use_stripe_sdk: {} },
  })
  emitEvent(call, 'setup_intent.requires_action', intent)
  return intent
}

function declineSetup(
  call: Call,
  intent: Stripe.SetupIntent,
  method: Stripe.PaymentMethod,
  decline: DeclineCode,
): StripeError {
  const { code, message } = cardDecline(decline)
  const failed = failSetup(call, intent, {
    advice_code: 'try_again_later',
    code,
    decline_code: decline,
    doc_url: `https://docs.stripe.com/error-codes/${code.replaceAll('_', '-')}`,
    message,
    payment_method: method,
    type: 'card_error',
  })
  const details = { code, decline_code: decline, payment_method: method, setup_intent: failed }
  return new StripeError(402, 'card_error', message, details, { stored: true })
}

function failSetup(
  scope: Scope,
  { id }: Stripe.SetupIntent,
  error: Stripe.SetupIntent.LastSetupError,
): Stripe.SetupIntent {
  const failed = changeRow(scope, setupIntents, id, {
    status: 'requires_payment_method',
    payment_method: null,
    latest_attempt: fakeId('setatt_1'),
    last_setup_error: error,
    next_action: null,
  })
  emitEvent(scope, 'setup_intent.setup_failed', failed)
  return failed
}
