import { buffer } from 'node:stream/consumers'
import { z } from 'zod'
import { getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type Mailer, PermanentMailError } from '../notifications/mailer.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import type { Logger } from '../shared/logger.ts'
import { formatMoney } from '../shared/money.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import { exportVouchers } from '../vouchers/export-vouchers.ts'
import { findPurchaseBatch } from '../vouchers/voucher-batch-store.ts'
import { type BulkPurchase, findPurchase } from './purchase-store.ts'

/** Beyond it the file is more than a megabyte, which many mail servers refuse once it is encoded. */
const MAX_ATTACHED_CODES = 20_000

export type PurchaseEmailDeps = {
  db: Db
  /** null: nobody sends mails here. */
  mailer: Mailer | null
  logger: Logger
  /** Makes the address at which a purchase is to be seen; null when nobody knows any. */
  linkOf: (conference: string, purchase: string) => string | null
}

type Recipient = {
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
export async function sendPurchaseEmail(
  deps: PurchaseEmailDeps,
  ref: PurchaseRef,
  kind: PurchaseEmailKind,
  message: string,
): Promise<void> {
  const { db, mailer, logger } = deps
  if (mailer === null) return
  const found = await withTenant(db, ref, (trx) => findRecipient(trx, ref))
  if (found === null || isOutdated(kind, found.purchase)) return
  const { purchase, to, sponsor, conference } = found
  const line = { conference: ref.conferenceId, purchase: ref.purchaseId, mail: message, kind }
  const file = kind === 'codes_ready' ? await codesFile(db, purchase) : null
  const letter = writePurchaseEmail(kind, {
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
    if (!(error instanceof PermanentMailError)) throw error
    logger.error(
      { ...line, error: error.message },
      'the mail to a sponsor was refused for good: is its contact_email right?',
    )
  }
}

async function findRecipient(trx: Tx, ref: PurchaseRef): Promise<Recipient | null> {
  const purchase = await findPurchase(trx, ref)
  if (purchase === null || purchase.sponsorId === null) return null
  const sponsor = await findSponsor(trx, ref.conferenceId, purchase.sponsorId)
  if (sponsor === null || sponsor.contactEmail === null) return null
  const { slug, name } = await getConference(trx, ref.conferenceId)
  return { purchase, to: sponsor.contactEmail, sponsor: sponsor.name, conference: { slug, name } }
}

/** The same file as the export of the API; null when it is too large for a mail. */
async function codesFile(db: Db, { conferenceId, id, quantity }: BulkPurchase) {
  if (quantity > MAX_ATTACHED_CODES) return null
  const batch = await withTenant(db, { conferenceId }, (trx) =>
    findPurchaseBatch(trx, conferenceId, id, null),
  )
  return {
    filename: `vouchers-${id}.csv`,
    contentType: 'text/csv; charset=utf-8; header=present',
    content: await buffer(exportVouchers(db, conferenceId, batch, 'csv')),
  }
}

/** What a sponsor's contact is written about. */
export const purchaseEmailKind = z.enum([
  'codes_ready',
  'failed',
  'partially_refunded',
  'refunded',
  'disputed',
])

export type PurchaseEmailKind = z.infer<typeof purchaseEmailKind>

export type PurchaseEmailData = {
  purchase: BulkPurchase
  conference: string
  sponsor: string
  /** Where the purchase and its codes are to be seen; null: nobody told us. */
  link: string | null
  /** Whether the codes come with the mail. */
  attached: boolean
}

/** What was true when the mail was asked for and is no more need not be told; nor sent codes that are off. */
function isOutdated(kind: PurchaseEmailKind, { status }: BulkPurchase): boolean {
  if (kind === 'codes_ready') return status !== 'PAID'
  if (kind === 'failed') return status !== 'FAILED'
  return kind === 'refunded' && status !== 'REFUNDED'
}

const codeCount = (count: number) => (count === 1 ? '1 voucher code' : `${count} voucher codes`)

const SUBJECTS: Record<PurchaseEmailKind, (facts: PurchaseEmailData) => string> = {
  codes_ready: ({ purchase, conference }) =>
    `Your ${codeCount(purchase.quantity)} for ${conference} ${purchase.quantity === 1 ? 'is' : 'are'} ready`,
  failed: ({ conference }) => `Your purchase of voucher codes for ${conference} was not completed`,
  partially_refunded: ({ conference }) => `Part of your payment for ${conference} was refunded`,
  refunded: ({ conference }) => `Your payment for ${conference} was refunded`,
  disputed: ({ conference }) => `Your payment for ${conference} is disputed`,
}

const BODIES: Record<PurchaseEmailKind, (facts: PurchaseEmailData) => string[]> = {
  codes_ready: ({ purchase, attached }) => [
    `the ${codeCount(purchase.quantity)} that you bought are ready.`,
    attached
      ? 'They come with this mail as a CSV file. Whoever has a code can use it, so keep the file to yourself.'
      : 'They are too many for a mail; download them as a CSV file from the address below.',
  ],
  failed: ({ purchase }) => [
    'the payment of your voucher codes was not completed, and no codes were issued.',
    ...(purchase.failure === null ? [] : [`Reason: ${purchase.failure.message}`]),
    'You can open the checkout of this purchase again at any time.',
  ],
  partially_refunded: ({ purchase }) => [
    `of your payment of ${formatMoney(purchase.amountReceived, purchase.currency)}, ${formatMoney(purchase.amountRefunded, purchase.currency)} went back to you in all.`,
    'As many codes as that pays for no longer work; unused ones were taken first.',
  ],
  refunded: () => [
    'your payment went back to you in full. The codes of this purchase no longer work.',
  ],
  disputed: () => [
    'your bank tells us that the payment of your voucher codes is disputed.',
    'Until that is settled the unused codes of this purchase do not work.',
  ],
}

/** Subject and text of a mail, in plain text. No code stands in either. */
function writePurchaseEmail(
  kind: PurchaseEmailKind,
  facts: PurchaseEmailData,
): { subject: string; text: string } {
  const { purchase, sponsor, link, conference } = facts
  const details = [
    `Purchase: ${purchase.id}`,
    `What: ${purchase.description}`,
    ...(purchase.reference === null ? [] : [`Your reference: ${purchase.reference}`]),
    `Total: ${formatMoney(purchase.totalAmount, purchase.currency)}`,
    ...(link === null ? [] : [`Address: ${link}`]),
  ]
  const paragraphs = [
    `Dear ${sponsor},`,
    BODIES[kind](facts).join('\n'),
    details.join('\n'),
    conference,
  ]
  return { subject: SUBJECTS[kind](facts), text: `${paragraphs.join('\n\n')}\n` }
}

export type PurchaseLinkSettings = {
  /** The shop's own page of a purchase, with `{conference}` and `{purchase}` in it. */
  purchaseUrl: string | null
  /** Where this service can be reached. */
  publicUrl: string | null
}

/**
 * Makes the address at which people see a purchase: the shop's own page where a setting tells it,
 * with `{conference}` and `{purchase}` filled in, else the codes in this service's API.
 *
 * @param settings.publicUrl null: not known, so that there is no address to give.
 */
export function createPurchaseLink(
  settings: PurchaseLinkSettings,
): (conference: string, purchase: string) => string | null {
  const { purchaseUrl, publicUrl } = settings
  return (conference, purchase) => {
    if (purchaseUrl !== null) {
      return purchaseUrl
        .replaceAll('{conference}', encodeURIComponent(conference))
        .replaceAll('{purchase}', encodeURIComponent(purchase))
    }
    if (publicUrl === null) return null
    const base = publicUrl.replace(/\/+$/, '')
    return `${base}/v1/conferences/${conference}/purchases/${purchase}/vouchers`
  }
}
