import Stripe from 'stripe'
import { onTestFinished } from 'vitest'
import {
  type FakeStripe,
  type FakeStripeOptions,
  startFakeStripe,
} from '../src/start-fake-stripe.ts'

export type FakeUnderTest = {
  fake: FakeStripe
  control: FakeStripe['control']
  /** The SDK with a key of `account`, in test mode, without retries. */
  stripe: Stripe
  /** The account that `stripe` works in. */
  account: string
  secretKey: string
  /** The SDK with another key. */
  withKey: (secretKey: string, retries?: number) => Stripe
}

/** Starts a new fake for one test; it is closed when the test ends. */
export async function startFake(options: Partial<FakeStripeOptions> = {}): Promise<FakeUnderTest> {
  const fake = await startFakeStripe({
    nodeEnv: 'test',
    webhooks: { retryBaseMs: 20 },
    ...options,
  })
  onTestFinished(() => fake.close())
  const { id: account, secretKey } = fake.control.createAccount({ name: 'PyCon Example' })
  const withKey = (key: string, retries = 0) => sdk(fake, key, retries)
  const { control } = fake
  return { fake, control, stripe: withKey(secretKey), account, secretKey, withKey }
}

function sdk(fake: FakeStripe, key: string, maxNetworkRetries: number): Stripe {
  const { port } = fake
  return new Stripe(key, {
    host: '127.0.0.1',
    port,
    protocol: 'http',
    maxNetworkRetries,
    timeout: 60_000,
    telemetry: false,
  })
}

/** The parameters of a session over 40 vouchers of 25.00 EUR. */
export function sessionParams(
  changes: Partial<Stripe.Checkout.SessionCreateParams> = {},
): Stripe.Checkout.SessionCreateParams {
  return {
    mode: 'payment',
    line_items: [
      {
        quantity: 40,
        price_data: {
          currency: 'eur',
          unit_amount: 2500,
          product_data: { name: 'Conference voucher' },
        },
      },
    ],
    client_reference_id: 'bp_1',
    metadata: { purchase: 'bp_1' },
    payment_intent_data: { metadata: { purchase: 'bp_1' }, description: '40 vouchers' },
    success_url: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
    cancel_url: 'https://shop.example/back',
    ...changes,
  }
}

/** The error that the SDK throws. @throws Error when the call succeeded. */
export async function refusal(call: Promise<unknown>): Promise<Stripe.errors.StripeError> {
  try {
    await call
  } catch (error) {
    if (error instanceof Stripe.errors.StripeError) return error
    throw error
  }
  throw new Error('The call was not refused')
}

/** The id in a field that can be expanded. */
export function idOf(field: string | { id: string } | null | undefined): string {
  if (!field) throw new Error('The field is empty')
  return typeof field === 'string' ? field : field.id
}
