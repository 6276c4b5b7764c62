import { z } from 'zod'
import { conferenceParams, pageOf, pageQuery, slug } from '../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import type { SponsorLevel } from './sponsor-levels.ts'
import type { Sponsor } from './sponsor-store.ts'

const fields = {
  name: z.string().trim().min(1).max(200),
  slug: slug.max(200),
  external_id: z.string().min(1).max(200),
  contact_email: z.email().max(254),
  level: z.string().min(1).max(200).meta({ description: 'Id or slug of a sponsor level.' }),
}

export const sponsorParams = conferenceParams.extend({
  id: z.string().max(200).meta({ description: 'Id, slug or external id.' }),
})

export const createSponsorBody = z
  .strictObject({
    name: fields.name,
    slug: fields.slug.optional().meta({ description: 'Derived from the name if absent.' }),
    external_id: fields.external_id.nullish(),
    contact_email: fields.contact_email.nullish(),
    level: fields.level.nullish(),
  })
  .meta({ id: 'CreateSponsor' })

export const updateSponsorBody = z
  .strictObject({
    name: fields.name.optional(),
    slug: fields.slug.optional(),
    external_id: fields.external_id.nullish(),
    contact_email: fields.contact_email.nullish(),
    level: fields.level.nullish(),
  })
  .meta({ id: 'UpdateSponsor' })

export const sponsorQuery = z.strictObject({
  ...pageQuery,
  external_id: fields.external_id.optional(),
  level: fields.level.optional(),
  q: z.string().trim().min(1).max(200).optional().meta({
    description: 'Finds sponsors whose name, slug or contact address contains this text.',
  }),
})

export const sponsorSchema = z
  .object({
    id: z.string(),
    object: z.literal('sponsor'),
    name: z.string(),
    slug: z.string(),
    external_id: z.string().nullable(),
    contact_email: z.string().nullable(),
    level: z.string().nullable().meta({ description: 'Id of its level.' }),
    comps_issued_at: timestamp.nullable().meta({
      description: 'When the complimentary vouchers of the first level were issued.',
    }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Sponsor' })

export const sponsorPage = pageOf(sponsorSchema).meta({ id: 'SponsorPage' })

export function toSponsorBody(sponsor: Sponsor): z.infer<typeof sponsorSchema> {
  return {
    id: sponsor.id,
    object: 'sponsor',
    name: sponsor.name,
    slug: sponsor.slug,
    external_id: sponsor.externalId,
    contact_email: sponsor.contactEmail,
    level: sponsor.levelId,
    comps_issued_at: toTimestamp(sponsor.compsIssuedAt),
    created_at: toTimestamp(sponsor.createdAt),
    updated_at: toTimestamp(sponsor.updatedAt),
  }
}

const levelName = z.string().trim().min(1).max(200)
const compTicketCount = z.int().min(0).max(10_000).meta({
  description:
    'Number of single-use complimentary vouchers that a sponsor gets with its first level.',
})

export const levelParams = conferenceParams.extend({
  id: z.string().max(200).meta({ description: 'Id or slug.' }),
})

export const createLevelBody = z
  .strictObject({
    name: levelName,
    slug: slug.max(200).optional().meta({ description: 'Derived from the name if absent.' }),
    comp_ticket_count: compTicketCount.default(0),
  })
  .meta({ id: 'CreateSponsorLevel' })

export const updateLevelBody = z
  .strictObject({ name: levelName, slug: slug.max(200), comp_ticket_count: compTicketCount })
  .partial()
  .meta({ id: 'UpdateSponsorLevel' })

export const levelSchema = z
  .object({
    id: z.string(),
    object: z.literal('sponsor_level'),
    name: z.string(),
    slug: z.string(),
    comp_ticket_count: z.int(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'SponsorLevel' })

export const levelPage = pageOf(levelSchema).meta({ id: 'SponsorLevelPage' })

export function toLevelBody(level: SponsorLevel): z.infer<typeof levelSchema> {
  return {
    id: level.id,
    object: 'sponsor_level',
    name: level.name,
    slug: level.slug,
    comp_ticket_count: level.compTicketCount,
    created_at: toTimestamp(level.createdAt),
    updated_at: toTimestamp(level.updatedAt),
  }
}
