import { z } from 'zod'
import { AppError } from '../shared/errors.ts'
import { equalInConstantTime } from '../shared/hash.ts'
import type { Metrics } from './metrics.ts'
import type { App } from './route-deps.ts'

export type MetricsDeps = {
  metrics: Metrics
  gauges: { refresh(): Promise<void> }
  /** Null: anybody may read. */
  metricsToken: string | null
}

const response = {
  200: {
    description: 'The metrics, in the text format of Prometheus.',
    content: { 'text/plain': { schema: z.string() } },
  },
}

/** Measures every request under its route's pattern. Must come before the routes. */
export function addRequestMetrics(app: App, metrics: Metrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown'
    const { method } = request
    metrics.httpRequest({ method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
}

/** `/metrics` for Prometheus; with `METRICS_TOKEN` only for who sends it. */
export function metricsRoutes(app: App, { metrics, gauges, metricsToken }: MetricsDeps): void {
  app.get(
    '/metrics',
    {
      config: { access: 'public', rateLimit: false },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics for Prometheus',
        description: 'With the setting METRICS_TOKEN: `Authorization: Bearer <token>`.',
        tags: ['Operations'],
        response,
      },
    },
    async (request, reply) => {
      const given = request.headers.authorization ?? ''
      if (metricsToken !== null && !equalInConstantTime(given, `Bearer ${metricsToken}`)) {
        throw new AppError('unauthenticated', 'Send the metrics token: Authorization: Bearer.')
      }
      await gauges.refresh()
      const text = await metrics.registry.metrics()
      return reply.type(metrics.registry.contentType).serializer(String).send(text)
    },
  )
}
