import type { Form } from './params.ts'

/** One request to `/v1`, for the assertions of tests. The API key is never stored. */
export type LoggedRequest = {
  /** `req_…`, also sent as `Request-Id`. */
  id: string
  /** ISO 8601, in the fake's time. */
  at: string
  /** `acct_…`, or null when the key is invalid. */
  account: string | null
  method: string
  path: string
  params: Form
  idempotencyKey: string | null
  apiVersion: string | null
  /** HTTP status of the response; null while the request runs, and when no response was sent. */
  status: number | null
  /** True when the response came from the idempotency store. */
  replayed: boolean
  /** The kind of the fault that affected this request, such as `rate_limit`. */
  fault: string | null
}

export type RequestFilter = {
  account?: string | undefined
  method?: string | undefined
  path?: string | undefined
  idempotencyKey?: string | undefined
}

/** Enough for every test, and a limit for a fake that runs for weeks. */
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
