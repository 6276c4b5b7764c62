import { expect, it } from 'vitest'
import { hintsOfEvent, mirrorTarget } from '../../src/stripe-events/classify-event.ts'
import type { Body } from '../support/test-app.ts'
import { eventOf } from './inbox-app.ts'

function targetOf(object: Body): string | null {
  const hints = hintsOfEvent(eventOf('some.type', object))
  const target = hints === null ? null : mirrorTarget(hints)
  return target === null ? null : `${target.resource} ${target.id}`
}

it.each([
  [{ object: 'customer', id: 'cus_1' }, 'customers cus_1'],
  [{ object: 'coupon', id: '25 % for Zoë' }, 'coupons 25 % for Zoë'],
  [{ object: 'checkout.session', id: 'cs_1' }, 'checkout-sessions cs_1'],
  [{ object: 'plan', id: 'gold' }, 'plans gold'],
  [{ object: 'card', id: 'card_1', customer: 'cus_1' }, 'payment-methods card_1'],
  [{ object: 'source', id: 'card_2' }, 'payment-methods card_2'],
  [{ object: 'discount', id: 'di_1', customer: 'cus_1' }, 'customers cus_1'],
  [
    { object: 'discount', id: 'di_1', customer: 'cus_1', subscription: { id: 'sub_1' } },
    'subscriptions sub_1',
  ],
  [{ object: 'invoice_payment', id: 'inpay_1', invoice: 'in_1' }, 'invoices in_1'],
  [{ object: 'subscription_item', id: 'si_1', subscription: 'sub_1' }, 'subscriptions sub_1'],
  [{ object: 'subscription_schedule', id: 'sched_1', subscription: null }, null],
])('an event with the object %j is about %s', (object, target) => {
  expect(targetOf(object)).toBe(target)
})

it.each([
  ['of a kind that is not mirrored', { object: 'file', id: 'file_1' }],
  ['of a bank account', { object: 'bank_account', id: 'ba_1', customer: 'cus_1' }],
  ['of a legacy source that is not a card', { object: 'source', id: 'src_1' }],
  ['without an `object` field', { id: 'cus_1' }],
  ['with the id of another kind', { object: 'customer', id: 'sub_1' }],
  ['without an id: an upcoming invoice', { object: 'invoice', id: null }],
  ['with an id that Postgres cannot store', { object: 'coupon', id: 'a\0b' }],
])('an event about an object %s is not for the mirror', (_what, object) => {
  expect(targetOf(object)).toBeNull()
})
