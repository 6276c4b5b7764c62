import type { Access } from '../api/session.ts'

/** A sponsor in one conference, for the pages of the portal. */
export type PortalScope = {
  /** The slug of the conference, for paths and requests. */
  conference: string
  conferenceName: string
  sponsorId: string
  sponsorName: string
  currency: string
}

/** The codes of a purchase, or those that came without one. */
export type CodesOf = { kind: 'purchase' | 'batch'; id: string }

/** Null for staff. */
export function portalScopeOf({ conference, sponsor }: Access): PortalScope | null {
  if (conference === null || sponsor === null) return null
  return {
    conference: conference.slug,
    conferenceName: conference.name,
    sponsorId: sponsor.id,
    sponsorName: sponsor.name,
    currency: conference.currency,
  }
}
