/**
 * Who caused a change, as the history shows it. `id` is the id of the API key; for Stripe and for this
 * service it is the name of the event or timer.
 */
export type Actor = { kind: 'operator' | 'staff' | 'sponsor' | 'stripe' | 'system'; id: string }

/** The permissions of a staff key. An operator key has all of them, a sponsor key none. */
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

/** Who calls, as the API key tells. */
export type Principal =
  | { role: 'operator'; keyId: string }
  | { role: 'staff'; keyId: string; conferenceId: string; scopes: readonly Scope[] }
  | { role: 'sponsor'; keyId: string; conferenceId: string; sponsorId: string }

/** Who calls, and in which conference. Every use case of a tenant takes it. */
export type Caller = {
  conferenceId: string
  actor: Actor
  /** Set for a sponsor key, which can read and change only this sponsor's objects. */
  sponsorId: string | null
}
