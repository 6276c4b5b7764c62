import { z } from 'zod'
import { conferenceParams, id, pageOf } from '../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import type { Erasure } from './erasure-store.ts'
import type { PersonalData } from './export-personal-data.ts'
import type { SubjectRef } from './subject.ts'

const subjectFields = {
  email: z.email().max(254).optional().meta({ description: 'The e-mail address of a person.' }),
  sponsor: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .meta({ description: 'Or a sponsor: id, slug or external id.' }),
}

const one = (body: { email?: string | undefined; sponsor?: string | undefined }) =>
  (body.email === undefined) !== (body.sponsor === undefined)

const ONE_OF_BOTH = { path: ['email'], message: 'or sponsor is required, and not both' }

export const exportBody = z
  .strictObject(subjectFields)
  .refine(one, ONE_OF_BOTH)
  .meta({ id: 'ExportPersonalData' })

export const eraseBody = z
  .strictObject({
    ...subjectFields,
    confirm: z.string().max(254).meta({
      description: 'Repeats `email` or `sponsor`, because an erasure cannot be undone.',
    }),
  })
  .refine(one, ONE_OF_BOTH)
  .refine(({ email, sponsor, confirm }) => confirm === (email ?? sponsor), {
    path: ['confirm'],
    message: 'must repeat the value of email or sponsor',
  })
  .meta({ id: 'ErasePersonalData' })

export const exportSchema = z
  .object({
    object: z.literal('privacy_export'),
    subject: z.enum(['person', 'sponsor']),
    created_at: timestamp,
    tables: z
      .record(z.string(), z.array(z.record(z.string(), z.unknown())))
      .meta({ description: 'The rows about the subject, by table.' }),
  })
  .meta({ id: 'PrivacyExport' })

export function toExportBody(
  subject: SubjectRef,
  tables: PersonalData,
  now: Date,
): z.infer<typeof exportSchema> {
  return {
    object: 'privacy_export',
    subject: subject.kind,
    created_at: toTimestamp(now),
    tables,
  }
}

export const erasureParams = conferenceParams.extend({ erasure: id })

export const erasureSchema = z
  .object({
    id: z.string(),
    object: z.literal('privacy_erasure'),
    subject: z.enum(['person', 'sponsor']),
    sponsor: z.string().nullable(),
    state: z.enum(['running', 'done']),
    erased: z.record(z.string(), z.int()).meta({ description: 'Changed rows by table.' }),
    stripe_customers: z.array(z.string()).meta({
      description: 'Customers of the subject at Stripe, which keeps what it knows about them.',
    }),
    requested_by: z.string(),
    created_at: timestamp,
    finished_at: timestamp.nullable(),
  })
  .meta({ id: 'PrivacyErasure' })

export const erasurePage = pageOf(erasureSchema).meta({ id: 'PrivacyErasurePage' })

export function toErasureBody(erasure: Erasure): z.infer<typeof erasureSchema> {
  return {
    id: erasure.id,
    object: 'privacy_erasure',
    subject: erasure.subject,
    sponsor: erasure.sponsor_id,
    state: erasure.state,
    erased: erasure.erased,
    stripe_customers: erasure.stripe_customers,
    requested_by: erasure.requested_by,
    created_at: toTimestamp(erasure.created_at),
    finished_at: toTimestamp(erasure.finished_at),
  }
}
