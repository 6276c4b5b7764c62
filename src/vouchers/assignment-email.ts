import { getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type Mailer, PermanentMailError } from '../notifications/mailer.ts'
import type { Logger } from '../shared/logger.ts'
import { formatMoney } from '../shared/money.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import { isMailable } from './assign-vouchers.ts'
import { INVALID_REASON, type InvalidReason } from './voucher.ts'
import type { VoucherType } from './voucher-terms.ts'

export type AssignmentEmailDeps = {
  db: Db
  /** Null: no mail server is configured. */
  mailer: Mailer | null
  logger: Logger
}

export type AssignmentEmailRef = {
  conferenceId: string
  voucherId: number
  /** Identifies the e-mail: a retry sends it under the same `Message-ID`. */
  message: string
}

type AssignmentRow = {
  email: string
  name: string | null
  code: string
  invalid_reason: InvalidReason | null
  sponsor_id: string | null
  voucher_type: VoucherType
  discount_value: number
  currency: string
  max_uses: number
  valid_from: Date | null
  valid_until: Date | null
}

type AssignmentEmailData = AssignmentRow & { conference: string; sponsor: string | null }

/**
 * Sends the code of a voucher to the person to whom it is assigned. Does nothing without a mail server, if the
 * assignment was removed or replaced since, or while the voucher cannot be redeemed. Neither the log
 * nor an error contains the code or the person.
 *
 * @throws Error if the mail server cannot be reached or asks for a retry.
 */
export async function sendAssignmentEmail(
  { db, mailer, logger }: AssignmentEmailDeps,
  ref: AssignmentEmailRef,
): Promise<void> {
  if (mailer === null) return
  const { conferenceId, voucherId, message } = ref
  const found = await withTenant(db, ref, (trx) => findRecipient(trx, ref))
  if (found === null) return
  const fields = { conference: conferenceId, voucher: voucherId, mail: message }
  if (!isMailable(found.invalid_reason)) {
    logger.info(
      { ...fields, reason: found.invalid_reason },
      'the code was not sent: the voucher cannot be redeemed',
    )
    return
  }
  try {
    await mailer({ name: message, to: found.email, ...writeAssignmentEmail(found) })
  } catch (error) {
    if (!(error instanceof PermanentMailError)) throw error
    logger.error(
      { ...fields, error: error.message },
      'the mail server permanently refused the e-mail with a code: check the address of the person',
    )
    return
  }
  await withTenant(db, ref, async (trx) => {
    await trx('voucher_assignments')
      .where({ conference_id: conferenceId, voucher_id: voucherId, message })
      .update({ sent_at: trx.fn.now() })
  })
  logger.info(fields, 'sent a code to the person to whom it is assigned')
}

async function findRecipient(
  trx: Tx,
  { conferenceId, voucherId, message }: AssignmentEmailRef,
): Promise<AssignmentEmailData | null> {
  const { rows } = await trx.raw<{ rows: AssignmentRow[] }>(
    `select a.email, a.name, v.code, ${INVALID_REASON} as invalid_reason, b.sponsor_id, b.voucher_type,
       b.discount_value, b.currency, b.max_uses, b.valid_from, b.valid_until
     from voucher_assignments a
     join vouchers v on v.conference_id = a.conference_id and v.id = a.voucher_id
     join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
     where a.conference_id = :conferenceId and a.voucher_id = :voucherId and a.message = :message`,
    { conferenceId, voucherId, message },
  )
  const [row] = rows
  if (row === undefined) return null
  const { name } = await getConference(trx, conferenceId)
  const sponsor =
    row.sponsor_id === null ? null : await findSponsor(trx, conferenceId, row.sponsor_id)
  return { ...row, conference: name, sponsor: sponsor?.name ?? null }
}

const WORTH: Record<VoucherType, (data: AssignmentEmailData) => string> = {
  comp: () => 'Your ticket is free.',
  percentage: ({ discount_value: percent }) => `Your ticket costs ${percent} % less.`,
  fixed_amount: ({ discount_value: amount, currency }) =>
    `Your ticket costs ${formatMoney(amount, currency)} less.`,
}

const momentText = (date: Date) => `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`

/** Subject and text, in plain text. */
function writeAssignmentEmail(data: AssignmentEmailData): { subject: string; text: string } {
  const { conference, sponsor, name, code, max_uses: uses } = data
  const details = [
    `Your code: ${code}`,
    WORTH[data.voucher_type](data),
    ...(uses === 1 ? [] : [`The code can be used ${uses} times.`]),
    ...(data.valid_from === null ? [] : [`Valid from: ${momentText(data.valid_from)}`]),
    ...(data.valid_until === null ? [] : [`Valid until: ${momentText(data.valid_until)}`]),
  ]
  const paragraphs = [
    name === null ? 'Hello,' : `Dear ${name},`,
    `${sponsor ?? conference} has a ticket voucher for ${conference} for you.`,
    details.join('\n'),
    'Enter the code when you order your ticket. Anyone who has the code can use it, so keep it private.',
    conference,
  ]
  return { subject: `Your ticket voucher for ${conference}`, text: `${paragraphs.join('\n\n')}\n` }
}
