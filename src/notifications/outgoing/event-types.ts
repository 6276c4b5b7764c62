/** What receivers may subscribe to. A type is never renamed; its `data` only ever gains members. */
export const OUTGOING_EVENT_TYPES = [
  'purchase.paid',
  'purchase.failed',
  'purchase.partially_refunded',
  'purchase.refunded',
  'purchase.refund_failed',
  'purchase.reinstated',
  'purchase.disputed',
  'purchase.dispute_closed',
  'vouchers.issued',
  'vouchers.deactivated',
  'vouchers.activated',
  'charge.succeeded',
  'charge.declined',
  'charge.refunded',
] as const

export type OutgoingEventType = (typeof OUTGOING_EVENT_TYPES)[number]

/**
 * Something that receivers are told of. `data` is small, names objects by their ids and holds no
 * secret: no voucher code and no address of a person. A receiver reads the rest through the API.
 */
export type OutgoingEvent = {
  conferenceId: string
  type: OutgoingEventType
  data: Readonly<Record<string, string | number | boolean | null>>
}
