import type { StripeError } from '../core/stripe-error.ts'

/** The `error` object of an answer. @see https://docs.stripe.com/api/errors */
export function errorBody(error: StripeError, baseUrl: string, requestId: string): object {
  const { code } = error.details
  return {
    error: {
      ...error.details,
      ...(code === undefined
        ? {}
        : { doc_url: `https://docs.stripe.com/error-codes/${code.replaceAll('_', '-')}` }),
      message: error.message,
      request_log_url: `${baseUrl}/?request=${requestId}`,
      type: error.type,
    },
  }
}
