import { resourceOfObject } from '../sync/all-resources.ts'
import { isForeignId, type Reference } from '../sync/stripe-resource.ts'
import type { EventHints } from './parse-event.ts'

type Hints = Pick<EventHints, 'kind' | 'objectId' | 'customer' | 'subscription' | 'invoice'>

function target(kind: string, id: string | null): Reference | null {
  const resource = resourceOfObject(kind)
  if (resource === undefined || id === null || isForeignId(resource, id)) return null
  return { resource: resource.name, id }
}

/**
 * The object of the mirror that an event is about, or null. It follows from the kind of object that
 * the event carries and not from the event's type: Stripe adds types, and one kind has many.
 */
export function mirrorTarget(hints: Hints): Reference | null {
  const { kind, objectId, customer, subscription, invoice } = hints
  if (kind === null) return null
  // Of the old sources only cards are among the payment methods; a bank account is not readable.
  if (kind === 'card' || kind === 'source') {
    return objectId?.startsWith('card_') ? target('payment_method', objectId) : null
  }
  // Parts of another object: Stripe shows them inside of it.
  if (kind === 'discount')
    return target('subscription', subscription) ?? target('customer', customer)
  if (kind === 'invoice_payment') return target('invoice', invoice)
  if (kind.startsWith('subscription_')) return target('subscription', subscription)
  return target(kind, objectId)
}
