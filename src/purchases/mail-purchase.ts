import { buffer } from 'node:stream/consumers'
import { getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type Mailer, MailRefused } from '../notifications/mail/mailer.ts'
import type { Logger } from '../shared/logger.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import { exportVouchers } from '../vouchers/export-vouchers.ts'
import { findPurchaseBatch } from '../vouchers/voucher-batch-store.ts'
import type { BulkPurchase, PurchaseRef } from './bulk-purchase.ts'
import { isStale, type LetterKind, writeLetter } from './purchase-letter.ts'
import { findPurchase } from './purchase-store.ts'

/** Beyond it the file is more than a megabyte, which many mail servers refuse once it is encoded. */
const MOST_ATTACHED = 20_000

export type MailPurchaseDeps = {
  db: Db
  /** null: nobody sends mails here. */
  mailer: Mailer | null
  logger: Logger
  /** Makes the address at which a purchase is to be seen; null when nobody knows any. */
  linkOf: (conference: string, purchase: string) => string | null
}

type Addressed = {
  purchase: BulkPurchase
  to: string
  sponsor: string
  conference: { slug: string; name: string }
}

/**
 * Writes to the contact of a purchase's sponsor, as things are now: to the present address, with the
 * present codes. Nothing happens where there is no sponsor, no address or no mail server, or where
 * the news is none any more.
 *
 * @param message names the mail: another try sends it under the same `Message-ID`.
 * @throws Error when the mail server cannot be reached or asks to come again.
 */
export async function mailPurchase(
  deps: MailPurchaseDeps,
  ref: PurchaseRef,
  kind: LetterKind,
  message: string,
): Promise<void> {
  const { db, mailer, logger } = deps
  if (mailer === null) return
  const found = await withTenant(db, ref, (trx) => readAddressed(trx, ref))
  if (found === null || isStale(kind, found.purchase)) return
  const { purchase, to, sponsor, conference } = found
  const line = { conference: ref.conferenceId, purchase: ref.purchaseId, mail: message, kind }
  const file = kind === 'codes_ready' ? await codesFile(db, purchase) : null
  const letter = writeLetter(kind, {
    purchase,
    sponsor,
    conference: conference.name,
    link: deps.linkOf(conference.slug, purchase.id),
    attached: file !== null,
  })
  try {
    await mailer({
      name: message,
      to,
      ...letter,
      ...(file === null ? {} : { attachments: [file] }),
    })
    logger.info(line, 'wrote to a sponsor')
  } catch (error) {
    if (!(error instanceof MailRefused)) throw error
    logger.error(
      { ...line, error: error.message },
      'the mail to a sponsor was refused for good: is its contact_email right?',
    )
  }
}

async function readAddressed(trx: Tx, ref: PurchaseRef): Promise<Addressed | null> {
  const purchase = await findPurchase(trx, ref)
  if (purchase === null || purchase.sponsorId === null) return null
  const sponsor = await findSponsor(trx, ref.conferenceId, purchase.sponsorId)
  if (sponsor === null || sponsor.contactEmail === null) return null
  const { slug, name } = await getConference(trx, ref.conferenceId)
  return { purchase, to: sponsor.contactEmail, sponsor: sponsor.name, conference: { slug, name } }
}

/** The same file as the export of the API; null when it is too large for a mail. */
async function codesFile(db: Db, { conferenceId, id, quantity }: BulkPurchase) {
  if (quantity > MOST_ATTACHED) return null
  const batch = await withTenant(db, { conferenceId }, (trx) =>
    findPurchaseBatch(trx, conferenceId, id, null),
  )
  return {
    filename: `vouchers-${id}.csv`,
    contentType: 'text/csv; charset=utf-8; header=present',
    content: await buffer(exportVouchers(db, conferenceId, batch, 'csv')),
  }
}
