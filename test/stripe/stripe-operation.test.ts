import { describe, expect, it } from 'vitest'
import { operationOf } from '../../src/stripe/stripe-operation.ts'

describe('the name of a request in the metrics', () => {
  it.each([
    ['POST', '/v1/checkout/sessions', 'checkout.sessions.create'],
    ['GET', '/v1/checkout/sessions/cs_1', 'checkout.sessions.retrieve'],
    ['POST', '/v1/checkout/sessions/cs_1/expire', 'checkout.sessions.expire'],
    ['GET', '/v1/refunds?payment_intent=pi_1&limit=100', 'refunds.list'],
    ['GET', '/v1/radar/early_fraud_warnings?limit=100', 'radar.early_fraud_warnings.list'],
    ['POST', '/v1/customers/cus_1', 'customers.update'],
    ['DELETE', '/v1/coupons/SUMMER', 'coupons.delete'],
    ['GET', '/v1/account', 'account.retrieve'],
  ])('of %s %s is %s, without an id', (method, path, name) => {
    expect(operationOf(method, path)).toBe(name)
  })
})
