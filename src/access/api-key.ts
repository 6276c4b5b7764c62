import type { Scope } from '../http/access-rule.ts'

export const KEY_ROLES = ['operator', 'staff', 'sponsor'] as const

export type KeyRole = (typeof KEY_ROLES)[number]

/** An API key as the service knows it: everything but its secret, of which only a hash is kept. */
export type ApiKey = {
  id: string
  /** null for an operator's key, which belongs to no conference. */
  conferenceId: string | null
  role: KeyRole
  sponsorId: string | null
  scopes: Scope[]
  name: string
  last4: string
  expiresAt: Date | null
  revokedAt: Date | null
  /** The key that takes this one's place; this one ends at `expiresAt`. */
  rotatedTo: string | null
  lastUsedAt: Date | null
  createdAt: Date
}

/** A key in the one moment in which its text is known: the answer to its creation. */
export type IssuedKey = { apiKey: ApiKey; text: string }
