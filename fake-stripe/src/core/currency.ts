import { invalidParameter, type StripeError } from './errors.ts'

/**
 * Amounts as Stripe's API takes them. The service has its own table: if both shared one, the fake
 * could not reveal a mistake in it.
 *
 * @see https://docs.stripe.com/currencies
 */
const ZERO_DECIMAL = new Set(
  'bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf'.split(' '),
)
const THREE_DECIMAL = new Set('bhd jod kwd omr tnd'.split(' '))
// These currencies have no decimals, but Stripe takes two that must be 00 (docs: special cases).
const WHOLE_HUNDREDS = new Set(['isk', 'ugx'])

const TWO_DECIMAL =
  'aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah ugx usd uyu uzs wst xcd yer zar zmw'
const CURRENCIES = new Set([...ZERO_DECIMAL, ...THREE_DECIMAL, ...TWO_DECIMAL.split(' ')])

// https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
const MIN_AMOUNTS: Record<string, number> = {
  aed: 200,
  aud: 50,
  brl: 50,
  cad: 50,
  chf: 50,
  czk: 1500,
  dkk: 250,
  eur: 50,
  gbp: 30,
  hkd: 400,
  huf: 17500,
  inr: 50,
  jpy: 50,
  mxn: 1000,
  myr: 200,
  nok: 300,
  nzd: 50,
  pln: 200,
  ron: 200,
  sek: 300,
  sgd: 50,
  thb: 1000,
  usd: 50,
}

/** Eight digits in every currency. */
const MAX_AMOUNT = 99_999_999

export function isCurrency(code: string): boolean {
  return CURRENCIES.has(code)
}

/** Smallest chargeable amount in Stripe's units; 1 where Stripe publishes none. */
function minimumAmount(currency: string): number {
  return MIN_AMOUNTS[currency] ?? 1
}

/** Amounts must be a multiple of this: 10 for three-decimal currencies, 100 for ISK and UGX. */
function amountStep(currency: string): number {
  if (THREE_DECIMAL.has(currency)) return 10
  return WHOLE_HUNDREDS.has(currency) ? 100 : 1
}

function decimals(currency: string): 0 | 2 | 3 {
  if (ZERO_DECIMAL.has(currency)) return 0
  return THREE_DECIMAL.has(currency) ? 3 : 2
}

/** `$1,234.50`, `¥500`, `KWD 1.250`: English, for pages and messages. */
export function formatAmount(amount: number, currency: string): string {
  const digits = decimals(currency)
  return new Intl.NumberFormat('en-US', {
    style: 'currency',
    currency: currency.toUpperCase(),
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(amount / 10 ** digits)
}

type Wording = { param: string; small(least: string): string; large(most: string): string }

const INTENT: Wording = {
  param: 'amount',
  small: (least) => `Amount must be at least ${least}`,
  large: (most) => `Amount must be no more than ${most}`,
}

const SESSION: Wording = {
  param: 'line_items',
  small: (least) => `The Checkout Session's total amount due must add up to at least ${least}`,
  large: (most) => `The Checkout Session's total amount due must be no more than ${most}.`,
}

/**
 * The error with which Stripe refuses this amount; null when it accepts it.
 *
 * @see https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
 */
export function amountProblem(
  amount: number,
  currency: string,
  kind: 'intent' | 'session',
): StripeError | null {
  const wording = kind === 'intent' ? INTENT : SESSION
  const least = minimumAmount(currency)
  if (amount > MAX_AMOUNT) {
    const most = formatAmount(MAX_AMOUNT, currency)
    return invalidParameter(wording.param, wording.large(most), 'amount_too_large')
  }
  if (amount < least) {
    const text = `${formatAmount(least, currency)} ${currency}`
    return invalidParameter(wording.param, wording.small(text), 'amount_too_small')
  }
  const step = amountStep(currency)
  if (amount % step === 0) return null
  return invalidParameter(
    wording.param,
    `Invalid amount: ${currency.toUpperCase()} amounts must be a multiple of ${step}.`,
  )
}
