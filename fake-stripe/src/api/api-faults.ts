import { z } from 'zod'
import { DECLINE_CODES } from '../core/declines.ts'

const action = z.discriminatedUnion('kind', [
  z
    .strictObject({
      kind: z.literal('rate_limit'),
      retry_after_seconds: z.coerce.number().int().min(0).default(1),
      /** `lock_timeout` is sent without the header and asks for a retry, as at Stripe. */
      reason: z
        .enum([
          'global-rate',
          'global-concurrency',
          'endpoint-rate',
          'endpoint-concurrency',
          'resource-specific',
          'lock_timeout',
        ])
        .default('global-rate'),
    })
    .describe('429 before execution'),
  z
    .strictObject({
      kind: z.literal('error'),
      status: z.coerce.number().int().min(500).max(599).default(500),
      /**
       * Default: a 500 is stored under the idempotency key, as at Stripe; other statuses are not.
       */
      stored: z.boolean().optional(),
    })
    .describe('an api_error before execution'),
  z
    .strictObject({
      kind: z.literal('hang'),
      /** Whether the request is executed before it hangs. */
      executed: z.boolean().default(false),
    })
    .describe('no response until the client times out'),
  z
    .strictObject({ kind: z.literal('slow'), ms: z.coerce.number().int().min(0).max(600_000) })
    .describe('the response is late'),
  z.strictObject({ kind: z.literal('cut') }).describe('the connection is cut before execution'),
  z
    .strictObject({
      kind: z.literal('fail_after'),
      how: z.enum(['cut', 'status_500']).default('cut'),
    })
    .describe('executed, but the client gets no result'),
  z
    .strictObject({
      kind: z.literal('refuse'),
      /** 401 and 403 stand for a revoked key and for a key without the permission. */
      status: z.coerce.number().int().min(400).max(499).default(403),
      /** Whether the request is executed before it is refused: its first answer was lost. */
      executed: z.boolean().default(false),
    })
    .describe('refused with a 4xx; not stored under the idempotency key'),
  z
    .strictObject({
      kind: z.literal('decline'),
      code: z.enum(DECLINE_CODES).default('generic_decline'),
    })
    .describe('the payment that the request makes is declined'),
])

export const apiFaultSchema = z.strictObject({
  method: z.enum(['GET', 'POST', 'DELETE']).optional(),
  /** `/v1/refunds`; `*` stands for one segment, a final `**` for the rest. */
  path: z.string().startsWith('/').default('/**'),
  /** `acct_…`; absent: every account. */
  account: z.string().optional(),
  /** How many requests the fault affects. */
  times: z.union([z.coerce.number().int().min(1), z.literal('always')]).default(1),
  /** How many matching requests pass before the first one that is affected. */
  skip: z.coerce.number().int().min(0).default(0),
  action,
})

export type ApiFaultInput = z.input<typeof apiFaultSchema>
export type ApiFaultAction = z.output<typeof action>

/** An active fault. `hits` counts the requests that it has affected. */
export type ApiFault = z.output<typeof apiFaultSchema> & { id: string; hits: number }

/** The faults that are injected into API requests. */
export class ApiFaults {
  #faults: ApiFault[] = []
  #sequence = 0

  add(input: ApiFaultInput): ApiFault {
    this.#sequence += 1
    const fault = { ...apiFaultSchema.parse(input), id: `fault_${this.#sequence}`, hits: 0 }
    this.#faults.push(fault)
    return fault
  }

  /** The fault of this request, or null; counts the hit. */
  take(method: string, path: string, account: string): ApiFaultAction | null {
    const fault = this.#faults.find(
      (candidate) =>
        (candidate.method ?? method) === method &&
        (candidate.account ?? account) === account &&
        matchesPath(candidate.path, path),
    )
    if (fault === undefined) return null
    if (fault.skip > 0) {
      fault.skip -= 1
      return null
    }
    fault.hits += 1
    if (fault.times !== 'always') fault.times -= 1
    if (fault.times === 0) this.remove(fault.id)
    return fault.action
  }

  list(): ApiFault[] {
    return [...this.#faults]
  }

  remove(id: string): void {
    this.#faults = this.#faults.filter((fault) => fault.id !== id)
  }

  clear(): void {
    this.#faults = []
  }
}

function matchesPath(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  const rest = wanted.at(-1) === '**'
  if (rest ? given.length < wanted.length : given.length !== wanted.length) return false
  return wanted.every(
    (segment, index) => segment === '*' || segment === '**' || segment === given[index],
  )
}
