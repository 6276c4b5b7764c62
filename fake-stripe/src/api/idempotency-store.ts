import { StripeError } from '../core/errors.ts'

/** A response as it was sent; text, so that later changes of objects do not affect it. */
export type StoredAnswer = { status: number; body: string; requestId: string }

export type IdempotencyTicket =
  | { kind: 'replay'; answer: StoredAnswer }
  | { kind: 'first'; store(answer: StoredAnswer): void; release(): void }

type Entry = { path: string; params: string; at: number; answer: StoredAnswer | null }

const LIFETIME_MS = 24 * 60 * 60 * 1000
const MAX_KEY_LENGTH = 255

/**
 * The idempotency layer of the v1 API, per account.
 *
 * @see https://docs.stripe.com/api/idempotent_requests
 */
export class IdempotencyStore {
  #entries = new Map<string, Entry>()
  #now: () => number

  /** @param now milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * Claims a key, or returns the response that is stored under it.
   *
   * @throws StripeError 400 when the key is too long or was used for another request, 409 while the
   *   first request is still running.
   */
  begin(account: string, key: string, path: string, params: string): IdempotencyTicket {
    if (key.length > MAX_KEY_LENGTH) throw tooLong(key)
    const id = `${account}\n${key}`
    this.#forgetOld()
    const entry = this.#entries.get(id)
    if (entry !== undefined) {
      if (entry.path !== path) throw otherEndpoint(key, entry.path, path)
      if (entry.params !== params) throw otherParameters(key)
      if (entry.answer === null) throw inUse(key)
      return { kind: 'replay', answer: entry.answer }
    }
    const claimed: Entry = { path, params, at: this.#now(), answer: null }
    this.#entries.set(id, claimed)
    return {
      kind: 'first',
      store: (answer) => {
        claimed.answer = answer
      },
      release: () => {
        if (this.#entries.get(id) === claimed) this.#entries.delete(id)
      },
    }
  }

  #forgetOld(): void {
    // A Map keeps insertion order, so the oldest entries come first.
    for (const [id, { at }] of this.#entries) {
      if (this.#now() - at < LIFETIME_MS) return
      this.#entries.delete(id)
    }
  }
}

function tooLong(key: string): StripeError {
  return new StripeError(
    400,
    'invalid_request_error',
    `The idempotency key that you provided is ${key.length} characters long. Keys can have up to ${MAX_KEY_LENGTH} characters.`,
  )
}

const ADVICE = 'if you meant to execute a different request.'

function otherEndpoint(key: string, first: string, now: string): StripeError {
  return new StripeError(
    400,
    'idempotency_error',
    `Keys for idempotent requests can only be used for the same endpoint they were first used for ('${now}' vs '${first}'). Try using a key other than '${key}' ${ADVICE}`,
  )
}

function otherParameters(key: string): StripeError {
  return new StripeError(
    400,
    'idempotency_error',
    `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' ${ADVICE}`,
  )
}

function inUse(key: string): StripeError {
  return new StripeError(
    409,
    'invalid_request_error',
    `There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): ${key}. Please try again later.`,
    { code: 'idempotency_key_in_use' },
  )
}
