import { buffer } from 'node:stream/consumers'
import { z } from 'zod'
import { getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { readFrom } from '../db/read-replica.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type Mailer, PermanentMailError } from '../notifications/mailer.ts'
import type { RecordedPayment } from '../payments/payment-records.ts'
import type { Logger } from '../shared/logger.ts'
import { formatMoney } from '../shared/money.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import { exportVouchers } from '../vouchers/export-vouchers.ts'
import { findPurchaseBatch } from '../vouchers/voucher-batch-store.ts'
import type { BulkPurchase, PurchaseRef } from './purchase-aggregate.ts'
import { loadViews } from './purchase-store.ts'

/** A larger file exceeds a megabyte; many mail servers refuse that once it is encoded. */
const MAX_ATTACHED_CODES = 20_000

export type PurchaseEmailDeps = {
  db: Db
  /** Null: no mail server is configured. */
  mailer: Mailer | null
  logger: Logger
  /** The URL of a purchase; null if no setting gives one. */
  linkOf: (conference: string, purchase: string) => string | null
}

type Recipient = {
  purchase: BulkPurchase
  recorded: RecordedPayment | null
  to: string
  sponsor: string
  conference: { slug: string; name: string }
}

/**
 * Sends an e-mail to the contact of a purchase's sponsor, with the current address and the current
 * vouchers. Does nothing without a sponsor, an address or a mail server, or if the e-mail is outdated.
 *
 * @param message identifies the e-mail: a retry sends it under the same `Message-ID`.
 * @throws Error if the mail server cannot be reached or asks for a retry.
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
  const { purchase, recorded, to, sponsor, conference } = found
  const fields = { conference: ref.conferenceId, purchase: ref.purchaseId, mail: message, kind }
  const file = kind === 'codes_ready' ? await codesFile(db, purchase) : null
  const email = writePurchaseEmail(kind, {
    purchase,
    recorded,
    sponsor,
    conference: conference.name,
    link: deps.linkOf(conference.slug, purchase.id),
    attached: file !== null,
  })
  try {
    await mailer({
      name: message,
      to,
      ...email,
      ...(file === null ? {} : { attachments: [file] }),
    })
    logger.info(fields, 'e-mail sent to a sponsor')
  } catch (error) {
    if (!(error instanceof PermanentMailError)) throw error
    logger.error(
      { ...fields, error: error.message },
      'the mail server permanently refused an e-mail to a sponsor: check its contact_email',
    )
  }
}

async function findRecipient(trx: Tx, ref: PurchaseRef): Promise<Recipient | null> {
  const [found] = await loadViews(trx, ref.conferenceId, [ref.purchaseId])
  if (found === undefined || found.purchase.sponsorId === null) return null
  const { purchase, records } = found
  const sponsor = await findSponsor(trx, ref.conferenceId, found.purchase.sponsorId)
  if (sponsor === null || sponsor.contactEmail === null) return null
  const { slug, name } = await getConference(trx, ref.conferenceId)
  const { recorded } = records
  return {
    purchase,
    recorded,
    to: sponsor.contactEmail,
    sponsor: sponsor.name,
    conference: { slug, name },
  }
}

/** The file that the API exports; null if it is too large for an e-mail. */
async function codesFile(db: Db, { conferenceId, id, quantity }: BulkPurchase) {
  if (quantity > MAX_ATTACHED_CODES) return null
  const batch = await withTenant(db, { conferenceId }, (trx) =>
    findPurchaseBatch(trx, conferenceId, id),
  )
  return {
    filename: `vouchers-${id}.csv`,
    contentType: 'text/csv; charset=utf-8; header=present',
    content: await buffer(exportVouchers(readFrom(db), conferenceId, batch, 'csv')),
  }
}

/** The e-mails that a sponsor's contact gets. */
export const purchaseEmailKind = z.enum([
  'codes_ready',
  'failed',
  'partially_refunded',
  'refunded',
  'revoked',
  'disputed',
])

export type PurchaseEmailKind = z.infer<typeof purchaseEmailKind>

export type PurchaseEmailData = {
  purchase: BulkPurchase
  recorded: RecordedPayment | null
  conference: string
  sponsor: string
  /** The URL of the purchase; null if no setting gives one. */
  link: string | null
  /** Whether the codes are attached. */
  attached: boolean
}

/** Whether the status changed since the e-mail was requested, so that its text is wrong by now. */
function isOutdated(kind: PurchaseEmailKind, { status }: BulkPurchase): boolean {
  if (kind === 'codes_ready') return status !== 'PAID'
  if (kind === 'failed') return status !== 'FAILED'
  return (kind === 'refunded' || kind === 'revoked') && status !== 'REFUNDED'
}

const codeCount = (count: number, kind = 'voucher') =>
  count === 1 ? `1 ${kind} code` : `${count} ${kind} codes`

const SUBJECTS: Record<PurchaseEmailKind, (data: PurchaseEmailData) => string> = {
  codes_ready: ({ purchase, conference }) =>
    `Your ${codeCount(purchase.quantity)} for ${conference} ${purchase.quantity === 1 ? 'is' : 'are'} ready`,
  failed: ({ conference }) => `Your purchase of voucher codes for ${conference} was not completed`,
  partially_refunded: ({ conference }) => `Part of your payment for ${conference} was refunded`,
  refunded: ({ conference }) => `Your payment for ${conference} was refunded`,
  revoked: ({ conference }) => `Your free voucher codes for ${conference} were withdrawn`,
  disputed: ({ conference }) => `Your payment for ${conference} is disputed`,
}

const METHOD_NAMES: Record<RecordedPayment['method'], string> = {
  bank_transfer: 'bank transfer',
  cheque: 'cheque',
  cash: 'cash',
  other: 'outside Stripe',
}

const BODIES: Record<PurchaseEmailKind, (data: PurchaseEmailData) => string[]> = {
  codes_ready: ({ purchase, recorded, attached }) => [
    ...(recorded === null
      ? []
      : [
          `we have received your payment of ${formatMoney(recorded.amount, recorded.currency)} (${METHOD_NAMES[recorded.method]}, ${recorded.reference}).`,
        ]),
    `${recorded === null ? 'your' : 'Your'} ${codeCount(purchase.quantity, purchase.totalAmount === 0 ? 'free voucher' : 'voucher')} ${purchase.quantity === 1 ? 'is' : 'are'} ready.`,
    attached
      ? 'They are attached as a CSV file. Anyone who has a code can use it, so keep the file private.'
      : 'There are too many codes to attach. Download them from the page below.',
  ],
  failed: ({ purchase }) => [
    'the payment for your voucher codes was not completed, so no codes were issued.',
    ...(purchase.failure === null ? [] : [`Reason: ${purchase.failure.message}`]),
    'You can pay at any time, on the page of this purchase.',
  ],
  partially_refunded: ({ purchase }) => [
    `we have refunded ${formatMoney(purchase.amountRefunded, purchase.currency)} of your ${formatMoney(purchase.amountReceived, purchase.currency)} payment.`,
    'Codes were deactivated to match the refund, unused codes first.',
  ],
  refunded: () => [
    'we have refunded your payment in full. The codes of this purchase no longer work.',
  ],
  revoked: () => [
    'the organizers withdrew your free voucher codes. The codes of this purchase no longer work.',
  ],
  disputed: () => [
    'your bank reported a dispute about the payment for your voucher codes.',
    'Until the dispute is closed, the unused codes of this purchase do not work.',
  ],
}

/** Subject and text of an e-mail, in plain text. Neither contains a code. */
function writePurchaseEmail(
  kind: PurchaseEmailKind,
  data: PurchaseEmailData,
): { subject: string; text: string } {
  const { purchase, sponsor, link, conference } = data
  const details = [
    `Purchase: ${purchase.id}`,
    `Item: ${purchase.description}`,
    ...(purchase.reference === null ? [] : [`Your reference: ${purchase.reference}`]),
    `Total: ${formatMoney(purchase.totalAmount, purchase.currency)}`,
    ...(link === null ? [] : [`Link: ${link}`]),
  ]
  const paragraphs = [
    `Dear ${sponsor},`,
    BODIES[kind](data).join('\n'),
    details.join('\n'),
    conference,
  ]
  return { subject: SUBJECTS[kind](data), text: `${paragraphs.join('\n\n')}\n` }
}

export type PurchaseLinkSettings = {
  /** The shop's own page of a purchase, with `{conference}` and `{purchase}` in it. */
  purchaseUrl: string | null
  /** The URL of this service. Null: unknown. */
  publicUrl: string | null
}

/**
 * Returns the function that makes the URL of a purchase: the shop's own page if it is configured, else
 * the page in this service's portal, else null.
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
    return `${base}/portal/${conference}/purchases/${purchase}`
  }
}
