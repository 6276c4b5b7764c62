import type { ClaimedEvent } from './claim-events.ts'

/**
 * Groups the events that one fetch from Stripe can process: those of one purchase. While the purchase
 * is unknown, the events of one payment form a group.
 */
export function groupByPurchase(events: readonly ClaimedEvent[]): ClaimedEvent[][] {
  return groupBy(events, purchaseKey)
}

/** Groups the events of one mirror object. */
export function groupByObject(events: readonly ClaimedEvent[]): ClaimedEvent[][] {
  return groupBy(events, objectKey)
}

function purchaseKey(event: ClaimedEvent): string {
  return `${event.conferenceId} ${event.purchaseId ?? event.paymentIntentId ?? event.id}`
}

/** Identifies the mirror object of an event among all conferences. */
export function objectKey({ conferenceId, mirrored, id }: ClaimedEvent): string {
  return `${conferenceId} ${mirrored === null ? id : `${mirrored.resource} ${mirrored.id}`}`
}

function groupBy(
  events: readonly ClaimedEvent[],
  keyOf: (event: ClaimedEvent) => string,
): ClaimedEvent[][] {
  const groups = new Map<string, ClaimedEvent[]>()
  for (const event of events) {
    const key = keyOf(event)
    groups.set(key, [...(groups.get(key) ?? []), event])
  }
  return [...groups.values()]
}
