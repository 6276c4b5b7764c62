import type { Form } from './params.ts'

/** One request to `/v1`, as tests assert on it. The API key is never kept. */
export type LoggedRequest = {
  /** `req_…`, also sent as `Request-Id`. */
  id: string
  /** ISO 8601, by the fake's clock. */
  at: string
  /** `acct_…`, null when the key opened none. */
  account: string | null
  method: string
  path: string
  params: Form
  idempotencyKey: string | null
  apiVersion: string | null
  /** HTTP status that was sent; null while running, and for ever when no answer was sent. */
  status: number | null
  /** True when the answer came from the idempotency store. */
  replayed: boolean
  /** The switch that spoilt this request, such as `rate_limit`. */
  fault: string | null
}

export type RequestFilter = {
  account?: string | undefined
  method?: string | undefined
  path?: string | undefined
  idempotencyKey?: string | undefined
}

/** Enough for any test; a fake that runs for weeks must not grow. */
const MAX_REQUESTS = 10_000

export class RequestLog {
  #entries: LoggedRequest[] = []

  add(entry: LoggedRequest): LoggedRequest {
    if (this.#entries.length >= MAX_REQUESTS) this.#entries.splice(0, MAX_REQUESTS / 10)
    this.#entries.push(entry)
    return entry
  }

  /** Oldest first. */
  list(filter: RequestFilter = {}): LoggedRequest[] {
    return this.#entries.filter(
      (entry) =>
        (filter.account ?? entry.account) === entry.account &&
        (filter.method ?? entry.method) === entry.method &&
        (filter.path ?? entry.path) === entry.path &&
        (filter.idempotencyKey ?? entry.idempotencyKey) === entry.idempotencyKey,
    )
  }

  clear(): void {
    this.#entries = []
  }
}
