/**
 * Who caused a change, as the history shows it. `id` is the id of the API key or of the user; for Stripe
 * and for this service it is the name of the event or timer.
 */
export type Actor = { kind: 'operator' | 'staff' | 'sponsor' | 'stripe' | 'system'; id: string }

/**
 * The permissions of staff. An operator has all of them, a sponsor none: sponsors call the routes whose `config.access`
 * says `sponsor: true`.
 */
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

/** The owner of an API key, or a user who is signed in. `id` is the id of the key or of the user. */
export type Principal =
  | { role: 'operator'; id: string }
  | { role: 'staff'; id: string; conferenceId: string; scopes: readonly Scope[] }
  | { role: 'sponsor'; id: string; conferenceId: string; sponsorId: string }

/** A session, and every user with its e-mail address: a person may be staff of several conferences. */
export type SignedIn = {
  sessionId: string
  email: string
  /** UTC. */
  expiresAt: Date
  users: readonly Principal[]
}

/** Who calls, and in which conference. Every use case of a tenant takes it. */
export type Caller = {
  conferenceId: string
  actor: Actor
  /** Set for a sponsor's key or user, who can read and change only this sponsor's objects. */
  sponsorId: string | null
}
