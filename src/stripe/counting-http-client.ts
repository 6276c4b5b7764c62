import Stripe from 'stripe'
import type { ServiceMetrics, StripeRequestOutcome } from '../shared/service-metrics.ts'

export type HttpClient = InstanceType<typeof Stripe.HttpClient>

function outcomeOf(status: number): StripeRequestOutcome {
  if (status === 429) return 'rate_limited'
  if (status >= 500) return 'failed'
  return status >= 400 ? 'refused' : 'ok'
}

/**
 * The SDK's HTTP client, with a metric for each request. The SDK's `response` event is not enough:
 * it reports neither requests that the SDK retried nor requests without a response.
 */
export function createCountingHttpClient(metrics: ServiceMetrics): HttpClient {
  const inner = Stripe.createNodeHttpClient()
  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      const operation = operationOf(request[3], request[2])
      const startedAt = performance.now()
      const report = (outcome: StripeRequestOutcome) =>
        metrics.stripeRequest(operation, outcome, (performance.now() - startedAt) / 1000)
      try {
        const response = await inner.makeRequest(...request)
        report(outcomeOf(response.getStatusCode()))
        return response
      } catch (error) {
        report('unreachable')
        throw error
      }
    },
  }
}

// Path prefixes after which a second word names the resource, as in `/v1/checkout/sessions`.
const NAMESPACES = new Set(['checkout', 'radar', 'billing_portal', 'test_helpers'])
const SINGULAR = new Set(['account', 'balance'])

function verbOf(method: string, hasId: boolean): string {
  if (method === 'DELETE') return 'delete'
  if (method === 'GET') return hasId ? 'retrieve' : 'list'
  return hasId ? 'update' : 'create'
}

/**
 * The name of a request for a metric's label: without ids, so that there are few values.
 * `POST /v1/checkout/sessions/cs_1/expire` → `checkout.sessions.expire`.
 */
export function operationOf(method: string, path: string): string {
  const words = (path.split('?')[0] ?? '').split('/').slice(2)
  const size = NAMESPACES.has(words[0] ?? '') ? 2 : 1
  const resource = words.slice(0, size).join('.')
  const [id, action] = words.slice(size)
  const hasId = id !== undefined || SINGULAR.has(resource)
  return `${resource}.${action ?? verbOf(method, hasId)}`
}
