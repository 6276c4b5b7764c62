import type { z } from 'zod'
import type { conferenceSchema } from '../../conferences/conference-schemas.ts'
import { momentText } from './moment-text.ts'
import type { Column } from './table.ts'

type ConferenceBody = z.infer<typeof conferenceSchema>

const modeOf = ({ livemode }: ConferenceBody) =>
  livemode === null ? null : livemode ? 'live' : 'test'

export const CONFERENCE_COLUMNS: readonly Column<ConferenceBody>[] = [
  { head: 'SLUG', cell: ({ slug }) => slug, paint: (_row, paint) => paint.bold },
  { head: 'NAME', cell: ({ name }) => name },
  { head: 'CURRENCY', cell: ({ currency }) => currency },
  { head: 'MODE', cell: modeOf },
  { head: 'STRIPE ACCOUNT', cell: ({ stripe_account }) => stripe_account },
  { head: 'CREATED (UTC)', cell: ({ created_at }) => momentText(created_at) },
  { head: 'ID', cell: ({ id }) => id },
]

/** A conference line by line; its secrets are masked by the API already. */
export function conferenceFields(body: ConferenceBody) {
  return [
    ['id', body.id],
    ['slug', body.slug],
    ['name', body.name],
    ['currency', body.currency],
    ['mode', modeOf(body)],
    ['Stripe key', body.stripe_secret_key],
    ['max quantity', body.max_quantity],
    ['code length', body.code_length],
    ['webhook path', `/webhooks/stripe/${body.slug}`],
    ['created (UTC)', momentText(body.created_at)],
  ] as const
}
