import { CURRENCIES, currencyExponent, toStripeAmount } from '../../../src/shared/money.ts'

/**
 * How many digits a currency has after its point, as the service stores it: 2 for EUR, 0 for JPY, 3 for KWD.
 * Browsers show some, such as HUF and IDR, with fewer than ISO 4217 gives them.
 */
export function exponentOf(currency: string): number {
  if (CURRENCIES.includes(currency)) return currencyExponent(currency)
  const { maximumFractionDigits: digits = 2 } = numbersOf(currency).resolvedOptions()
  return digits
}

const numbersOf = (currency: string, options: Intl.NumberFormatOptions = {}) =>
  new Intl.NumberFormat(undefined, { style: 'currency', currency, ...options })

/** An amount in minor units, as the reader writes money. */
export function formatMoney(amount: number, currency: string): string {
  const digits = exponentOf(currency)
  const format = numbersOf(currency, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
  return format.format(amount / 10 ** digits)
}

/** An amount of the mirror, which is as Stripe sends it: ISK and UGX have two digits more there. */
export function formatStripeMoney(amount: number, currency: string): string {
  const code = currency.toUpperCase()
  return formatMoney(amount / toStripeAmount(1, code), code)
}

/** A number that a person typed in major units, in minor units; null if it has more digits than the currency. */
export function toMinorUnits(major: number, currency: string): number | null {
  const minor = major * 10 ** exponentOf(currency)
  const rounded = Math.round(minor)
  return Math.abs(minor - rounded) < 1e-6 ? rounded : null
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
const momentWithZone = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' })

/** A time of the API in the reader's zone. */
export const formatTime = (text: string): string => moment.format(new Date(text))

/** The same with seconds and zone, for a title. */
export const formatExactTime = (text: string): string => momentWithZone.format(new Date(text))

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' })
const UNITS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const

/** `3 minutes ago` */
export function formatAgo(text: string, now: number): string {
  const seconds = Math.round((new Date(text).getTime() - now) / 1_000)
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS[3]
  return relative.format(Math.trunc(seconds / length), unit)
}

/** `< 1 sec`, `8 secs`, `3 hr`, `2 days`: how long something took, in its largest unit. */
export function formatDuration(seconds: number): string {
  if (seconds < 1) return `< ${formatDuration(1)}`
  const [unit, length] = UNITS.find(([, size]) => seconds >= size) ?? UNITS[3]
  const options = { style: 'unit', unit, unitDisplay: 'short' } as const
  // From ten on, the unit is exact enough.
  const digits = { maximumFractionDigits: seconds / length < 10 ? 1 : 0 }
  return new Intl.NumberFormat(undefined, { ...options, ...digits }).format(seconds / length)
}

const count = new Intl.NumberFormat()

/** `2,000` */
export const formatCount = (amount: number): string => count.format(amount)

/** `1 code`, `2,000 codes` */
export function plural(amount: number, one: string, many = `${one}s`): string {
  return `${count.format(amount)} ${amount === 1 ? one : many}`
}

/** A number of minor units in major units, for a field. */
export const toMajorUnits = (amount: number, currency: string): number =>
  amount / 10 ** exponentOf(currency)

/** A time of the API for a field of the type `datetime-local`: in the reader's zone, to the minute. */
export function toTimeField(text: string | null | undefined): string {
  if (text == null) return ''
  const time = new Date(text)
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

/**
 * What a `datetime-local` field contains, for the API; null if it is empty.
 *
 * @param before what the field showed first: an unchanged field keeps its seconds.
 */
export function fromTimeField(value: string, before?: string | null): string | null {
  if (value === '') return null
  if (before != null && value === toTimeField(before)) return before
  return new Date(value).toISOString()
}
