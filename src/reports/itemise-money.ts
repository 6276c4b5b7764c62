import { fromStripeAmount } from '../shared/money.ts'
import type { BalanceTransaction } from '../stripe/fetch-payouts.ts'

/** What a payment pays, and whose it is. */
export type Owner = {
  kind: 'purchase' | 'charge' | 'subscription'
  id: string
  sponsor: string | null
  sponsorName: string | null
}

/** Of the conference, of a payout (an earlier one that failed, or a manual one), or of neither. */
export type BelongsTo = 'conference' | 'payout' | 'other'

/** Amounts are in the currency of the balance: gross − fee = net. */
export type Item = Pick<BalanceTransaction, 'id' | 'type' | 'currency' | 'net' | 'fee'> & {
  category: string
  at: number
  availableOn: number
  gross: number
  exchangeRate: number | null
  /** The amount in the currency in which the customer paid. Null: it is none of a payment. */
  customer: { amount: number; currency: string } | null
  source: string | null
  paymentIntent: string | null
  belongsTo: BelongsTo
  owner: Owner | null
  /** The payout whose money this is. */
  payout: string | null
}

/** The payment intent behind an entry: of the charge, or of the refund or dispute of it. */
export function paymentIntentOf({ source }: BalanceTransaction): string | null {
  return source !== null && 'payment_intent' in source ? source.payment_intent : null
}

/**
 * Says of each entry what it belongs to.
 *
 * @param owners by payment intent: what the conference's payments pay.
 */
export function itemise(
  transactions: readonly BalanceTransaction[],
  owners: ReadonlyMap<string, Owner>,
): Item[] {
  return transactions.map((transaction) => {
    const { id, type, currency, amount: gross, fee, net, source } = transaction
    const paymentIntent = paymentIntentOf(transaction)
    const owner = paymentIntent === null ? null : (owners.get(paymentIntent) ?? null)
    const isPayout = type.startsWith('payout')
    return {
      id,
      type,
      category: transaction.reporting_category,
      at: transaction.created,
      availableOn: transaction.available_on,
      currency,
      gross,
      fee,
      net,
      exchangeRate: transaction.exchange_rate,
      customer: customerAmount(transaction),
      source: source?.id ?? null,
      paymentIntent,
      belongsTo: owner !== null ? 'conference' : isPayout ? 'payout' : 'other',
      owner,
      payout: isPayout ? (source?.id ?? null) : null,
    }
  })
}

/** The source has its amount without a sign. */
function customerAmount({ source, amount }: BalanceTransaction): Item['customer'] {
  if (source === null || !('payment_intent' in source)) return null
  const { amount: paid, currency } = source
  if (paid === undefined || currency === undefined || source.payment_intent === null) return null
  return { amount: Math.sign(amount) * fromStripeAmount(paid, currency), currency }
}

export type Sums = { count: number; gross: number; fee: number; net: number }

function sumUp(items: readonly Pick<Item, 'gross' | 'fee' | 'net'>[]): Sums {
  return items.reduce<Sums>(
    (sums, { gross, fee, net }) => ({
      count: sums.count + 1,
      gross: sums.gross + gross,
      fee: sums.fee + fee,
      net: sums.net + net,
    }),
    { count: 0, gross: 0, fee: 0, net: 0 },
  )
}

/** The sums by what the entries belong to. */
export type Totals = Record<BelongsTo | 'all', Sums>

export function totalsOf(items: readonly Item[]): Totals {
  const of = (wanted: BelongsTo) => sumUp(items.filter(({ belongsTo }) => belongsTo === wanted))
  return {
    conference: of('conference'),
    payout: of('payout'),
    other: of('other'),
    all: sumUp(items),
  }
}

/** The sums of both. */
export function addTotals(one: Totals, other: Totals): Totals {
  const of = (belongsTo: keyof Totals): Sums => ({
    count: one[belongsTo].count + other[belongsTo].count,
    gross: one[belongsTo].gross + other[belongsTo].gross,
    fee: one[belongsTo].fee + other[belongsTo].fee,
    net: one[belongsTo].net + other[belongsTo].net,
  })
  return { conference: of('conference'), payout: of('payout'), other: of('other'), all: of('all') }
}
