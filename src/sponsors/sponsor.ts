/** A buyer. `slug` and `externalId` are unique within its conference. */
export type Sponsor = {
  id: string
  name: string
  slug: string
  /** The sponsor's id in a system of the conference's own. */
  externalId: string | null
  contactEmail: string | null
  levelId: string | null
  /** When the complimentary vouchers of its first level were made; null: never. */
  compsIssuedAt: Date | null
  createdAt: Date
  updatedAt: Date
}

/** A tier of sponsorship. */
export type SponsorLevel = {
  id: string
  name: string
  slug: string
  /** Single-use complimentary vouchers that a sponsor gets with its first level. */
  compTicketCount: number
  createdAt: Date
  updatedAt: Date
}
