import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { z } from 'zod'
import { equalInConstantTime } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import type { App } from './route-deps.ts'

/** The metrics of this process. Prometheus adds up those of all processes. */
export type Metrics = ServiceMetrics & {
  readonly registry: Registry
  /** `route` is the pattern: a URL may contain a voucher code, and each URL would be a new label. */
  httpRequest(request: { method: string; route: string; status: number }, seconds: number): void
}

// Seconds. Most requests run a few statements; slow ones wait for Stripe.
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** @param process whether to measure memory, event loop and garbage collection too. */
export function createMetrics({ process }: { process: boolean }): Metrics {
  // Not the global registry of prom-client, so that one test can run several services.
  const registry = new Registry()
  if (process) collectDefaultMetrics({ register: registry })
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `sponsor_vouchers_${name}`, help, labelNames, registers: [registry] })
  const histogram = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Histogram({
      name: `sponsor_vouchers_${name}`,
      help,
      labelNames,
      buckets: BUCKETS,
      registers: [registry],
    })

  const http = histogram('http_request_duration_seconds', 'Duration of HTTP requests.', [
    'method',
    'route',
    'status',
  ])
  const received = counter('stripe_events_received_total', 'Stripe events received.', ['outcome'])
  const handled = counter('stripe_events_handled_total', 'Attempts to handle a Stripe event.', [
    'outcome',
  ])
  const handling = histogram(
    'stripe_event_handling_seconds',
    'Duration of one attempt to handle a Stripe event.',
    ['outcome'],
  )
  const missed = counter(
    'stripe_events_missed_total',
    'Stripe events that no webhook delivered.',
    [],
  )
  const stripe = histogram('stripe_request_duration_seconds', 'Duration of requests to Stripe.', [
    'operation',
    'outcome',
  ])
  const jobs = histogram('job_duration_seconds', 'Duration of one attempt to run a job.', [
    // Not `job`, which Prometheus sets to the name of what it scrapes.
    'job_name',
    'outcome',
  ])
  const reads = counter(
    'replica_reads_total',
    'Reads that may go to the replica, and what answered: the replica, or why the primary.',
    ['outcome'],
  )
  const lag = new Gauge({
    name: 'sponsor_vouchers_replica_lag_seconds',
    help: 'How far the read replica is behind. Absent: none is set, or it cannot be used.',
    labelNames: ['database'],
    registers: [registry],
  })
  const slow = counter('slow_statements_total', 'Statements slower than SLOW_STATEMENT_MS.', [
    'statement',
  ])
  // Alerts use the rate of these counters. A counter that does not exist yet has no rate, so they start at 0.
  for (const outcome of ['stored', 'duplicate', 'ignored']) received.inc({ outcome }, 0)
  for (const outcome of ['done', 'retried', 'failed']) handled.inc({ outcome }, 0)

  return {
    registry,
    httpRequest: ({ method, route, status }, seconds) =>
      http.observe({ method, route, status: String(status) }, seconds),
    eventReceived: (outcome) => received.inc({ outcome }),
    eventHandled(outcome, seconds) {
      handled.inc({ outcome })
      handling.observe({ outcome }, seconds)
    },
    missedEventsFound: (count) => missed.inc(count),
    stripeRequest: (operation, outcome, seconds) => stripe.observe({ operation, outcome }, seconds),
    readRouted: (outcome) => reads.inc({ outcome }),
    replicaWatched(seconds) {
      lag.reset()
      if (seconds !== null) lag.set({ database: 'replica' }, seconds)
    },
    jobRun: (job, outcome, seconds) => jobs.observe({ job_name: job, outcome }, seconds),
    slowStatement: (statement) => slow.inc({ statement }),
  }
}

export type MetricsDeps = {
  metrics: Metrics
  gauges: { refresh(): Promise<void> }
  /** Null: no token is needed. */
  metricsToken: string | null
}

const response = {
  200: {
    description: 'The metrics in the text format of Prometheus.',
    content: { 'text/plain': { schema: z.string() } },
  },
}

/** Measures every request by its route's pattern. Call it before the routes are added. */
export function addRequestMetrics(app: App, metrics: Metrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown'
    const { method } = request
    metrics.httpRequest({ method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
}

/** `/metrics` for Prometheus. If `METRICS_TOKEN` is set, the request must send it. */
export function metricsRoutes(app: App, { metrics, gauges, metricsToken }: MetricsDeps): void {
  app.get(
    '/metrics',
    {
      config: { access: 'public', rateLimit: false },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics for Prometheus',
        description: 'If METRICS_TOKEN is set, send `Authorization: Bearer <token>`.',
        tags: ['Operations'],
        response,
      },
    },
    async (request, reply) => {
      const given = request.headers.authorization ?? ''
      if (metricsToken !== null && !equalInConstantTime(given, `Bearer ${metricsToken}`)) {
        throw new AppError(
          'unauthenticated',
          'Send the metrics token in the header Authorization: Bearer <token>.',
        )
      }
      await gauges.refresh()
      const text = await metrics.registry.metrics()
      return reply.type(metrics.registry.contentType).serializer(String).send(text)
    },
  )
}
