/**
 * Who caused a change, as the history shows it. `id` is the API key's id for people and programs,
 * the event's or timer's name for Stripe and for the service itself.
 */
export type Actor = { kind: 'operator' | 'staff' | 'sponsor' | 'stripe' | 'system'; id: string }
