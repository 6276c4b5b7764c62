import type { Tx } from '../../../db/connect.ts'

export const PUBLICATION_STATES = ['running', 'done', 'failed'] as const

/** A batch that is used at Stripe, as its row has it. */
export type Publication = {
  id: string
  batch_id: string
  /** `failed`: no code was made, and the codes are used here again. */
  state: (typeof PUBLICATION_STATES)[number]
  coupon_id: string
  coupon_change_id: string
  expires_at: Date | null
  error: string | null
  published_by: string
  created_at: Date
  updated_at: Date
}

const COLUMNS = [
  'id',
  'batch_id',
  'state',
  'coupon_id',
  'coupon_change_id',
  'expires_at',
  'error',
  'published_by',
  'created_at',
  'updated_at',
] as const satisfies readonly (keyof Publication)[]

type BatchRef = { conferenceId: string; batchId: string }

/** The batch's latest publication, or null. */
export async function findPublication(trx: Tx, ref: BatchRef): Promise<Publication | null> {
  const row = await trx('voucher_publications')
    .where({ conference_id: ref.conferenceId, batch_id: ref.batchId })
    // The one that lives, else the last one that failed.
    .orderByRaw(`state = 'failed', created_at desc, id desc`)
    .first<Publication | undefined>([...COLUMNS])
  return row ?? null
}

/** How far a publication is. `failed`: what Stripe refused; `errors` has a few of them. */
export type PublicationProgress = {
  total: number
  published: number
  pending: number
  failed: number
  off: number
  times_redeemed: number
  errors: { code: string; detail: string }[]
}

/** SQL: published voucher `p` of voucher `v` and batch `b` could still be used at Stripe. */
const USABLE = `(v.times_used < v.max_uses
  and (b.valid_until is null or b.valid_until > statement_timestamp()))`

/** SQL: Stripe has to be told something about published voucher `p`. */
export const TO_DO = `(p.error is null and case
  when p.promotion_code_id is null then v.state = 'active' and ${USABLE}
  when p.is_on then v.state <> 'active'
  else v.state = 'active' and ${USABLE}
end)`

/** SQL: published vouchers `p` with their vouchers `v` and their batch `b`. */
export const FROM_PUBLISHED = `published_vouchers p
  join vouchers v on v.conference_id = p.conference_id and v.id = p.voucher_id
  join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id`

const FEW_ERRORS = 10

/** Counts of a publication, as they stand. */
export async function progressOf(
  trx: Tx,
  conferenceId: string,
  publicationId: string,
): Promise<PublicationProgress> {
  const which = { conferenceId, publicationId }
  const { rows } = await trx.raw<{ rows: Omit<PublicationProgress, 'errors'>[] }>(
    `select count(*) as total,
       count(p.promotion_code_id) as published,
       count(*) filter (where ${TO_DO}) as pending,
       count(p.error) as failed,
       count(*) filter (where p.promotion_code_id is not null and not p.is_on) as off,
       coalesce(sum(m.times_redeemed), 0)::bigint as times_redeemed
     from ${FROM_PUBLISHED}
     left join stripe.promotion_codes m
       on m.conference_id = p.conference_id and m.id = p.promotion_code_id
     where p.conference_id = :conferenceId and p.publication_id = :publicationId`,
    which,
  )
  const [counts] = rows
  if (counts === undefined) throw new Error('A count returned no row')
  const { rows: errors } = await trx.raw<{ rows: { code: string; detail: string }[] }>(
    `select v.code, p.error as detail from ${FROM_PUBLISHED}
     where p.conference_id = :conferenceId and p.publication_id = :publicationId
       and p.error is not null
     order by v.ordinal limit ${FEW_ERRORS}`,
    which,
  )
  return { ...counts, errors }
}
