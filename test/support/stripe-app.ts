import type { FakeStripe } from 'fake-stripe/source'
import { beforeAll } from 'vitest'
import { useFakeStripe } from './shop.ts'
import { type StripeProxy, useStripeProxy } from './stripe-proxy.ts'
import { type TestApp, useTestApp } from './test-app.ts'

type OnStripe = {
  app: TestApp
  stripe: { readonly fake: FakeStripe }
  /** The settings of the app. `STRIPE_API_BASE` is known from `beforeAll` on. */
  env: NodeJS.ProcessEnv
}

/** The service and the fake Stripe that it uses, for the tests of this file. */
export function useAppOnStripe(settings: NodeJS.ProcessEnv = {}): OnStripe {
  const stripe = useFakeStripe()
  return { ...useAppAt(() => stripe.fake.url, settings), stripe }
}

/** `useAppOnStripe` with a proxy between them, which can hold requests and answers. */
export function useAppBehindProxy(): OnStripe & { proxy: StripeProxy } {
  const stripe = useFakeStripe()
  const proxy = useStripeProxy(stripe)
  return { ...useAppAt(() => proxy.url, {}), stripe, proxy }
}

/** @param stripeUrl known when the hooks before this one have run. */
function useAppAt(stripeUrl: () => string, settings: NodeJS.ProcessEnv): Omit<OnStripe, 'stripe'> {
  const env = { ...settings }
  beforeAll(() => {
    env['STRIPE_API_BASE'] = stripeUrl()
  })
  return { app: useTestApp({ env }), env }
}
