import type { Conference } from '../conferences/conference-store.ts'
import { type FieldError, invalidFields } from '../shared/errors.ts'

/** Where Stripe sends the payer afterwards. They go to Stripe unchanged (`{CHECKOUT_SESSION_ID}`). */
export type ReturnUrls = { successUrl: string; cancelUrl: string }

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

function problemOf(text: string, allowedOrigins: string[]): string | null {
  if (!URL.canParse(text)) return 'must be an absolute URL'
  const url = new URL(text)
  const isSafe =
    url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))
  if (!isSafe) return 'must begin with https:// (http:// only for a loopback address)'
  if (url.username !== '' || url.password !== '') return 'must not contain a user name or password'
  if (allowedOrigins.length > 0 && !allowedOrigins.includes(url.origin)) {
    return `must be on one of the conference's allowed origins: ${allowedOrigins.join(', ')}`
  }
  return null
}

/** @throws AppError `validation_failed` naming `/success_url` and `/cancel_url`. */
export function assertReturnUrls(urls: ReturnUrls, { allowedOrigins }: Conference): void {
  const errors: FieldError[] = []
  for (const [pointer, text] of [
    ['/success_url', urls.successUrl],
    ['/cancel_url', urls.cancelUrl],
  ] as const) {
    const detail = problemOf(text, allowedOrigins)
    if (detail !== null) errors.push({ pointer, detail })
  }
  if (errors.length === 0) return
  throw invalidFields(errors)
}

/** Whether a payment page was opened for these URLs. */
export function sameUrls(params: ReturnUrls, urls: ReturnUrls): boolean {
  return params.successUrl === urls.successUrl && params.cancelUrl === urls.cancelUrl
}
