import Stripe from 'stripe'
import type { ServiceMetrics, StripeRequestOutcome } from '../shared/service-metrics.ts'
import { operationOf } from './stripe-operation.ts'

export type HttpClient = InstanceType<typeof Stripe.HttpClient>

function outcomeOf(status: number): StripeRequestOutcome {
  if (status === 429) return 'rate_limited'
  if (status >= 500) return 'failed'
  return status >= 400 ? 'refused' : 'ok'
}

/**
 * The SDK's own HTTP client, reporting each try. The SDK's `response` event is not enough: it tells
 * of neither the tries that it repeated nor those without an answer.
 */
export function createCountingHttpClient(metrics: ServiceMetrics): HttpClient {
  const inner = Stripe.createNodeHttpClient()
  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      const operation = operationOf(request[3], request[2])
      const begun = performance.now()
      const report = (outcome: StripeRequestOutcome) =>
        metrics.stripeRequest(operation, outcome, (performance.now() - begun) / 1000)
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
