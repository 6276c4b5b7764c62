import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

export const setupIntents = defineTable<Stripe.SetupIntent>('setup_intent')

type SetupIntentInput = {
  customer: string | null
  description: string | null
  metadata: Record<string, string>
  types: string[]
  method?: string | null
  usage?: 'off_session' | 'on_session' | undefined
}

/** A new setup intent that waits for a payment method, without an event. */
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
