/**
 * Currencies by their ISO 4217 exponent. This service stores amounts as integers in the minor unit of
 * the currency: 500 is 5.00 EUR, 500 JPY, 0.500 KWD.
 */
const ZERO_DECIMAL = 'BIF CLP DJF GNF ISK JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF'.split(
  ' ',
)
const THREE_DECIMAL = 'BHD JOD KWD OMR TND'.split(' ')
const TWO_DECIMAL =
  'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STN SZL THB TJS TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD YER ZAR ZMW'.split(
    ' ',
  )

const EXPONENTS = new Map<string, 0 | 2 | 3>([
  ...ZERO_DECIMAL.map((code) => [code, 0] as const),
  ...TWO_DECIMAL.map((code) => [code, 2] as const),
  ...THREE_DECIMAL.map((code) => [code, 3] as const),
])

/** Upper-case ISO 4217 codes that Stripe can charge. @see https://docs.stripe.com/currencies */
export const CURRENCIES: readonly string[] = [...EXPONENTS.keys()].toSorted()

// ISO 4217 has no decimals for these two, but Stripe keeps two for backwards compatibility: 5 ISK is
// sent as 500. https://docs.stripe.com/currencies#special-cases
const TWO_DECIMAL_AT_STRIPE = new Set(['ISK', 'UGX'])

/** Converts our minor units to the integer of Stripe's API. */
export function toStripeAmount(amount: number, currency: string): number {
  return TWO_DECIMAL_AT_STRIPE.has(currency) ? amount * 100 : amount
}

/** Converts the integer of Stripe's API to our minor units. @throws RangeError instead of rounding. */
export function fromStripeAmount(amount: number, currency: string): number {
  if (!TWO_DECIMAL_AT_STRIPE.has(currency)) return amount
  if (amount % 100 !== 0)
    throw new RangeError(`${amount} is not a multiple of the smallest unit of ${currency}`)
  return amount / 100
}

// The minimum charge by settlement currency, in our minor units.
// https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
const MINIMUM_CHARGE: Record<string, number> = {
  AED: 200,
  AUD: 50,
  BRL: 50,
  CAD: 50,
  CHF: 50,
  CZK: 1500,
  DKK: 250,
  EUR: 50,
  GBP: 30,
  HKD: 400,
  HUF: 17500,
  INR: 50,
  JPY: 50,
  MXN: 1000,
  MYR: 200,
  NOK: 300,
  NZD: 50,
  PLN: 200,
  RON: 200,
  SEK: 300,
  SGD: 50,
  THB: 1000,
  USD: 50,
}

/** Stripe accepts eight digits. https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts */
export const STRIPE_MAXIMUM_AMOUNT = 99_999_999

/**
 * The reason why Stripe cannot charge this total, or null. Checked when a purchase is created, so that
 * the checkout does not fail for it later.
 *
 * @param total integer minor units, above 0.
 */
export function chargeProblem(total: number, currency: string): string | null {
  const minimum = MINIMUM_CHARGE[currency] ?? 1
  if (total < minimum)
    return `The total of ${formatMoney(total, currency)} is below Stripe's minimum charge of ${formatMoney(minimum, currency)}.`
  return priceProblem(total, currency)
}

/**
 * The reason why Stripe cannot use this price, or null. A price may be below the minimum charge,
 * because a customer may buy more than one.
 *
 * @param amount integer minor units, 0 or more.
 */
export function priceProblem(amount: number, currency: string): string | null {
  const maximum = Math.floor(STRIPE_MAXIMUM_AMOUNT / toStripeAmount(1, currency))
  if (amount > maximum)
    return `The amount of ${formatMoney(amount, currency)} is above Stripe's maximum of ${formatMoney(maximum, currency)}.`
  // https://docs.stripe.com/currencies#three-decimal: the last digit must be 0
  if (currencyExponent(currency) === 3 && amount % 10 !== 0)
    return `Stripe charges ${currency} only in multiples of 10 minor units.`
  return null
}

/** Digits after the decimal point. @throws RangeError for a currency that Stripe cannot charge. */
export function currencyExponent(currency: string): 0 | 2 | 3 {
  const exponent = EXPONENTS.get(currency)
  if (exponent === undefined) throw new RangeError(`Unknown currency ${currency}`)
  return exponent
}

/** For people: `1234` EUR → `12.34 EUR`. Not meant to be parsed. */
export function formatMoney(amount: number, currency: string): string {
  const exponent = currencyExponent(currency)
  const sign = amount < 0 ? '-' : ''
  const digits = String(Math.abs(amount)).padStart(exponent + 1, '0')
  const whole = digits.slice(0, digits.length - exponent)
  const part = exponent === 0 ? '' : `.${digits.slice(-exponent)}`
  return `${sign}${whole}${part} ${currency}`
}
