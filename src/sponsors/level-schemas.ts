import { z } from 'zod'
import { conferenceParams, slug, timestamp, toTimestamp } from '../http/common-schemas.ts'
import { pageOf } from '../http/pages.ts'
import type { SponsorLevel } from './sponsor.ts'

const name = z.string().trim().min(1).max(200)
const compTicketCount = z.int().min(0).max(10_000).meta({
  description: "Single-use complimentary vouchers that come with a sponsor's first level.",
})

export const levelParams = conferenceParams.extend({
  id: z.string().meta({ description: 'Id or slug.' }),
})

export const createLevelBody = z
  .strictObject({
    name,
    slug: slug.max(200).optional().meta({ description: 'Made from the name when absent.' }),
    comp_ticket_count: compTicketCount.default(0),
  })
  .meta({ id: 'CreateSponsorLevel' })

export const updateLevelBody = z
  .strictObject({ name, slug: slug.max(200), comp_ticket_count: compTicketCount })
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
