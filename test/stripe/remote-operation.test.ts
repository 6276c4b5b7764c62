import Stripe from 'stripe'
import { describe, expect, it } from 'vitest'
import { makeOnce } from '../../src/stripe/remote-operation.ts'

type Made = { id: string }

const {
  StripeInvalidRequestError,
  StripeAuthenticationError,
  StripeConnectionError,
  StripeAPIError,
} = Stripe.errors

const refused = () =>
  new StripeInvalidRequestError({
    type: 'invalid_request_error',
    statusCode: 400,
    code: 'amount_too_small',
    message: 'Too small.',
  })
const keyRejected = () =>
  new StripeAuthenticationError({
    type: 'invalid_request_error',
    statusCode: 401,
    message: 'Revoked.',
  })
const noResponse = () => new StripeConnectionError({ type: 'api_error', message: 'lost' })
const failed = () => new StripeAPIError({ type: 'api_error', statusCode: 500, message: 'oops' })
const stored = () =>
  new StripeAPIError({
    type: 'api_error',
    statusCode: 500,
    message: 'oops',
    headers: { 'idempotent-replayed': 'true' },
  })

/** Runs an operation against a Stripe that answers as scripted. */
async function run(script: {
  answers: (Error | Made)[]
  /** What Stripe shows when it is asked. */
  shows?: Made | Error | null
  askedBefore?: boolean
}) {
  const keys: unknown[] = []
  let asked = 0
  const outcome = await makeOnce<Made>({
    idempotencyKey: 'key-1',
    askedBefore: script.askedBefore ?? false,
    async send(options) {
      keys.push([options.idempotencyKey, options.maxNetworkRetries])
      const answer = script.answers[keys.length - 1]
      if (answer === undefined) throw new Error('The script has no further answer')
      if (answer instanceof Error) throw answer
      return answer
    },
    async find() {
      asked += 1
      if (script.shows instanceof Error) throw script.shows
      return script.shows ?? null
    },
  }).catch((error: unknown) => ({ kind: 'unknown' as const, error }))
  return { outcome, requests: keys, asked }
}

const made = { id: 'cs_1' }

describe('making an object at Stripe once (issue 8, line 3)', () => {
  it('sends the key, and keeps the SDK from repeating the request by itself', async () => {
    const { outcome, requests, asked } = await run({ answers: [made] })
    expect(outcome).toEqual({ kind: 'made', object: made })
    expect(requests).toEqual([['key-1', 0]])
    expect(asked).toBe(0)
  })

  it('believes a refusal of the first request', async () => {
    const { outcome, asked } = await run({ answers: [refused()] })
    expect(outcome).toEqual({
      kind: 'refused',
      message: 'Too small.',
      storedError: false,
      code: 'amount_too_small',
    })
    expect(asked).toBe(0)
  })

  it('asks what Stripe shows when a repeat is refused, because the first request may have done the work', async () => {
    const { outcome, asked } = await run({ answers: [noResponse(), refused()], shows: made })
    expect(outcome).toEqual({ kind: 'made', object: made })
    expect(asked).toBe(1)
  })

  it('is refused when a repeat is refused and Stripe shows nothing', async () => {
    const { outcome } = await run({ answers: [failed(), refused()], shows: null })
    expect(outcome).toMatchObject({ kind: 'refused', storedError: false })
  })

  it('looks for the object before it sends a request that may have been sent before', async () => {
    const { outcome, requests } = await run({ answers: [], shows: made, askedBefore: true })
    expect(outcome).toEqual({ kind: 'made', object: made })
    expect(requests).toEqual([])
  })

  it.each([[[keyRejected()]], [[noResponse(), keyRejected()]]])(
    'never counts a rejected key as a refusal',
    async (answers) => {
      const { outcome } = await run({ answers })
      expect(outcome).toMatchObject({ kind: 'unknown', error: { code: 'stripe_key_rejected' } })
    },
  )

  it('is unknown when Stripe cannot show the object either', async () => {
    const { outcome } = await run({ answers: [noResponse(), refused()], shows: keyRejected() })
    expect(outcome).toMatchObject({ kind: 'unknown', error: { code: 'stripe_key_rejected' } })
  })

  it('is unknown after three requests without a response', async () => {
    const { outcome, requests } = await run({ answers: [noResponse(), noResponse(), noResponse()] })
    expect(outcome).toMatchObject({ kind: 'unknown', error: { code: 'stripe_unavailable' } })
    expect(requests).toHaveLength(3)
  })

  it('finds the object behind an error that Stripe stored under the key', async () => {
    expect((await run({ answers: [stored()], shows: made })).outcome).toEqual({
      kind: 'made',
      object: made,
    })
    expect((await run({ answers: [stored()] })).outcome).toMatchObject({
      kind: 'refused',
      storedError: true,
    })
  })
})
