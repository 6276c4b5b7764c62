/**
 * What the working parts report while they run. Queue depths, lags and flags are not here: they are
 * read from Postgres when somebody asks for /metrics, so that one serving process shows them for all.
 */
export type ServiceMetrics = {
  /** An event arrived by webhook or was found by the missed-events timer. */
  eventReceived(outcome: ReceivedEvent): void
  /** One try to handle an event ended. `seconds`: how long the try took. */
  eventHandled(outcome: HandledEvent, seconds: number): void
  /** Stripe knew events of which no webhook had told us. */
  missedEventsFound(count: number): void
  /**
   * One request to Stripe ended. `operation` is a name of ours such as `checkout.create`, never a
   * URL: the label must stay small and free of ids.
   */
  stripeRequest(operation: string, outcome: StripeRequestOutcome, seconds: number): void
  /** One try to run a job ended. */
  jobRun(name: string, outcome: JobOutcome, seconds: number): void
}

/** `duplicate`: its id was stored already. `ignored`: stored, and nothing of ours to do. */
export type ReceivedEvent = 'stored' | 'duplicate' | 'ignored'

/** `retried`: failed and due again later. `failed`: failed for good, until somebody replays it. */
export type HandledEvent = 'done' | 'retried' | 'failed'

/** `refused`: a 4xx answer. `failed`: a 5xx answer. `unreachable`: no answer, so outcome unknown. */
export type StripeRequestOutcome = 'ok' | 'refused' | 'rate_limited' | 'failed' | 'unreachable'

export type JobOutcome = 'done' | 'retried' | 'failed'

/** For whoever does not measure: tests and command-line tools. */
export const noMetrics: ServiceMetrics = {
  eventReceived() {},
  eventHandled() {},
  missedEventsFound() {},
  stripeRequest() {},
  jobRun() {},
}
