import Stripe from 'stripe'
import { afterEach, describe, expect, it } from 'vitest'
import { AppError } from '../../src/shared/errors.ts'
import type { ServiceMetrics } from '../../src/shared/service-metrics.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { isRefusal, toAppError } from '../../src/stripe/stripe-errors.ts'
import { PARAMS, useStripeScene } from './stripe-scene.ts'

const counted: string[] = []
const metrics: ServiceMetrics = {
  ...noMetrics,
  stripeRequest: (operation, outcome) => void counted.push(`${operation} ${outcome}`),
}
const scene = useStripeScene({ metrics })
const impatient = useStripeScene({ timeoutSeconds: 1, metrics })
const everything = { path: '/v1/**', times: 'always' } as const

afterEach(() => {
  scene.fake.control.clearFaults()
  impatient.fake.control.clearFaults()
})

const ask = () => scene.ask(scene.newRef(), 1, PARAMS)
const read = () => scene.facts(scene.newRef(), 'cs_test_x')

describe('an error of Stripe', () => {
  it('with status 429 becomes 503 with Stripe’s own Retry-After', async () => {
    scene.fake.control.injectFault({
      ...everything,
      action: { kind: 'rate_limit', retry_after_seconds: 9 },
    })
    await expect(ask()).rejects.toMatchObject({
      code: 'stripe_unavailable',
      status: 503,
      retryAfterSeconds: 9,
    })
  })

  it('with status 500 becomes 502', async () => {
    scene.fake.control.injectFault({ ...everything, action: { kind: 'error', status: 503 } })
    const failed = { code: 'stripe_failed', status: 502, retryAfterSeconds: 2 }
    await expect(read()).rejects.toMatchObject(failed)
  })

  it('without a response becomes 503, after the SDK’s retries', async () => {
    impatient.fake.control.injectFault({ ...everything, action: { kind: 'hang' } })
    counted.length = 0
    const asked = impatient.ask(scene.newRef(), 1, PARAMS)
    await expect(asked).rejects.toMatchObject({ code: 'stripe_unavailable', retryAfterSeconds: 5 })
    expect(counted).toEqual(Array(3).fill('checkout.sessions.create unreachable'))
  })

  it('about a missing object becomes a refusal with Stripe’s request id', async () => {
    const id = expect.stringMatching(/^req_/)
    await expect(read()).rejects.toMatchObject({
      code: 'stripe_refused',
      status: 409,
      extra: { stripe_request_id: id, stripe_code: 'resource_missing' },
    })
  })

  it('is counted by operation and outcome', async () => {
    counted.length = 0
    await ask()
    await expect(read()).rejects.toMatchObject({ code: 'stripe_refused' })
    expect(counted).toEqual(['checkout.sessions.create ok', 'checkout.sessions.retrieve refused'])
  })
})

describe('an error shown to callers', () => {
  const { StripeAuthenticationError, StripePermissionError, StripeCardError } = Stripe.errors

  it('never contains a key, also when Stripe’s message does', () => {
    const error = toAppError(
      new StripeAuthenticationError({
        type: 'invalid_request_error',
        statusCode: 401,
        message: 'Invalid API Key provided: sk_live_abcDEF123456; secret whsec_abc123+/=',
      }),
    )
    expect(error).toBeInstanceOf(AppError)
    const text = error instanceof AppError ? `${error.message} ${String(error.cause)}` : ''
    expect(text).toContain('sk_live_****')
    expect(text).not.toMatch(/abcDEF|abc123/)
  })

  it('keeps Stripe’s message about a refused card', () => {
    const raw = { type: 'card_error' as const, statusCode: 402, message: 'Not with us.' }
    expect(toAppError(new StripeCardError(raw))).toMatchObject({
      code: 'stripe_refused',
      message: 'Not with us.',
    })
  })

  it.each([
    [StripeAuthenticationError, 401],
    [StripePermissionError, 403],
  ])(
    'says that the key is rejected after %s, which is no refusal (issue 8, line 3)',
    (Kind, statusCode) => {
      const raw = { type: 'invalid_request_error' as const, statusCode, message: 'Not with us.' }
      expect(toAppError(new Kind(raw))).toMatchObject({
        code: 'stripe_key_rejected',
        status: 502,
        message: expect.stringContaining('Not with us.'),
      })
      expect(isRefusal(new Kind(raw))).toBe(false)
    },
  )

  it('is stripe_unavailable while a request with the same key is running', () => {
    const raw = { type: 'invalid_request_error' as const, statusCode: 409, message: 'in use' }
    expect(toAppError(new Stripe.errors.StripeAPIError(raw))).toMatchObject({
      code: 'stripe_unavailable',
      retryAfterSeconds: 1,
    })
  })

  it('is unchanged if it is our own', () => {
    const error = new Error('ours')
    expect(toAppError(error)).toBe(error)
  })
})
