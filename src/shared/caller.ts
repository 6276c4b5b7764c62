/**
 * Who caused a change, as the history shows it. `id` is the API key's id for people and programs,
 * the event's or timer's name for Stripe and for the service itself.
 */
export type Actor = { kind: 'operator' | 'staff' | 'sponsor' | 'stripe' | 'system'; id: string }

/** What a staff key may be allowed to do. An operator may do all of it; a sponsor key has none. */
export const SCOPES = [
  'settings:write',
  'keys:write',
  'catalog:write',
  'purchases:read',
  'purchases:write',
  'refunds:write',
  'vouchers:read',
  'vouchers:write',
  'vouchers:redeem',
  'stripe:sync',
  'billing:write',
] as const

export type Scope = (typeof SCOPES)[number]

/** Who is calling, from the API key. */
export type Principal =
  | { role: 'operator'; keyId: string }
  | { role: 'staff'; keyId: string; conferenceId: string; scopes: readonly Scope[] }
  | { role: 'sponsor'; keyId: string; conferenceId: string; sponsorId: string }

/** Who calls, inside which conference: what every use case of a tenant needs. */
export type Caller = {
  conferenceId: string
  actor: Actor
  /** Set for a sponsor's key: it sees and touches only this sponsor's. */
  sponsorId: string | null
}
