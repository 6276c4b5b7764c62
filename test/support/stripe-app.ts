import type { FakeStripe } from 'fake-stripe/source'
import { beforeAll } from 'vitest'
import { useFakeStripe } from './shop.ts'
import { type StripeProxy, useStripeProxy } from './stripe-proxy.ts'
import { type TestApp, useTestApp } from './test-app.ts'

type OnStripe = { app: TestApp; stripe: { readonly fake: FakeStripe } }

/** The service and the fake Stripe that it uses, for the tests of this file. */
export function useAppOnStripe(): OnStripe {
  const stripe = useFakeStripe()
  return { app: useAppAt(() => stripe.fake.url), stripe }
}

/** `useAppOnStripe` with a proxy between them, which can hold requests and answers. */
export function useAppBehindProxy(): OnStripe & { proxy: StripeProxy } {
  const stripe = useFakeStripe()
  const proxy = useStripeProxy(stripe)
  return { app: useAppAt(() => proxy.url), stripe, proxy }
}

/** @param stripeUrl known when the hooks before this one have run. */
function useAppAt(stripeUrl: () => string): TestApp {
  const env: NodeJS.ProcessEnv = {}
  beforeAll(() => {
    env['STRIPE_API_BASE'] = stripeUrl()
  })
  return useTestApp({ env })
}
