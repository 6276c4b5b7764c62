/**
 * What background work and requests to Stripe report while they run. Queue depths, lags and flags come
 * from Postgres on each request for /metrics, so one serving process shows them for all processes.
 */
export type ServiceMetrics = {
  /** An event arrived by webhook, or the missed-events timer found it. */
  eventReceived(outcome: ReceivedEvent): void
  /** One attempt to handle an event ended after `seconds`. */
  eventHandled(outcome: HandledEvent, seconds: number): void
  /** Stripe listed events that no webhook had delivered. */
  missedEventsFound(count: number): void
  /**
   * One request to Stripe ended. `operation` is a name such as `checkout.create`, not a URL: the label
   * must have few values and no ids.
   */
  stripeRequest(operation: string, outcome: StripeRequestOutcome, seconds: number): void
  /** One attempt to run a job ended. */
  jobRun(name: string, outcome: JobOutcome, seconds: number): void
  /** A read that may go to the replica was answered by it, or by the primary for a reason. */
  readRouted(outcome: ReadOutcome): void
  /** How far the replica is behind. Null: it cannot be used. */
  replicaWatched(lagSeconds: number | null): void
  /** A statement took longer than SLOW_STATEMENT_MS. */
  slowStatement(name: string): void
}

/**
 * `replica`: it answered. The others went to the primary. `own_write`: the replica lacks a recent write of the
 * caller. `lagging`: it is behind by more than the maximum. `unavailable`: it does not answer. `failed`: the read
 * failed there.
 */
export type ReadOutcome = 'replica' | 'own_write' | 'lagging' | 'unavailable' | 'failed'

/** `duplicate`: its id was already stored. `ignored`: stored, but this service does not use it. */
export type ReceivedEvent = 'stored' | 'duplicate' | 'ignored'

/** `retried`: failed and scheduled again. `failed`: no retry left; it waits for a replay. */
export type HandledEvent = 'done' | 'retried' | 'failed'

/**
 * `refused`: a 4xx answer. `key_rejected`: 401 or 403. `failed`: a 5xx answer. `unreachable`: no answer,
 * so the outcome is unknown.
 */
export type StripeRequestOutcome =
  | 'ok'
  | 'refused'
  | 'key_rejected'
  | 'rate_limited'
  | 'failed'
  | 'unreachable'

/** `parked`: failed because of the conference's Stripe key; retried without using up an attempt. */
export type JobOutcome = 'done' | 'retried' | 'failed' | 'parked'

/** For callers that do not measure: tests and command-line tools. */
export const noMetrics: ServiceMetrics = {
  eventReceived() {},
  eventHandled() {},
  missedEventsFound() {},
  stripeRequest() {},
  jobRun() {},
  readRouted() {},
  replicaWatched() {},
  slowStatement() {},
}
