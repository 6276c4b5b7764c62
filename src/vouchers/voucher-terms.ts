import { discountRule } from '../catalog/catalog-items.ts'
import type { FieldError } from '../shared/errors.ts'
import { STRIPE_MAXIMUM_AMOUNT } from '../shared/money.ts'

export const VOUCHER_TYPES = ['comp', 'percentage', 'fixed_amount'] as const

export type VoucherType = (typeof VOUCHER_TYPES)[number]

/** What a voucher is worth, how often it can be used, and when. */
export type VoucherTerms = {
  voucherType: VoucherType
  /** percentage: 0 to 100; fixed_amount: integer minor units; comp: 0 or 100, which mean the same. */
  discountValue: number
  maxUses: number
  /** Inclusive. Null: from the start. */
  validFrom: Date | null
  /** Exclusive. Null: without an end. */
  validUntil: Date | null
  unlocksHiddenTickets: boolean
  prefix: string
}

/** `voucher_config` as the API shows it; times are RFC 3339. */
export type VoucherConfig = {
  voucher_type: VoucherType
  discount_value: number
  max_uses: number
  valid_from: string | null
  valid_until: string | null
  unlocks_hidden_tickets: boolean
  prefix: string
}

/** What a caller or a catalogue item sets; the rest gets defaults. */
export type VoucherTermsInput = { [K in keyof VoucherConfig]?: VoucherConfig[K] | undefined }

/** The default terms: free entry, once, at any time. */
export const DEFAULT_TERMS: Omit<VoucherTerms, 'prefix'> = {
  voucherType: 'comp',
  discountValue: 0,
  maxUses: 1,
  validFrom: null,
  validUntil: null,
  unlocksHiddenTickets: false,
}

const toDate = (text: string | null) => (text === null ? null : new Date(text))

// Another type does not inherit the discount: 20 percent is not 20 cents. With NaN, the validation
// requires a value.
function inheritedDiscount(base: VoucherTerms, type: VoucherType): number {
  if (type === base.voucherType) return base.discountValue
  return type === 'comp' ? 0 : Number.NaN
}

/** Returns `base` with the input's fields in it. */
export function mergeTerms(base: VoucherTerms, input: VoucherTermsInput): VoucherTerms {
  const voucherType = input.voucher_type ?? base.voucherType
  return {
    voucherType,
    discountValue: input.discount_value ?? inheritedDiscount(base, voucherType),
    maxUses: input.max_uses ?? base.maxUses,
    validFrom: input.valid_from === undefined ? base.validFrom : toDate(input.valid_from),
    validUntil: input.valid_until === undefined ? base.validUntil : toDate(input.valid_until),
    unlocksHiddenTickets: input.unlocks_hidden_tickets ?? base.unlocksHiddenTickets,
    prefix: input.prefix ?? base.prefix,
  }
}

/** The terms as the API shows them. */
export function toVoucherConfig(terms: VoucherTerms): VoucherConfig {
  return {
    voucher_type: terms.voucherType,
    discount_value: terms.discountValue,
    max_uses: terms.maxUses,
    valid_from: terms.validFrom?.toISOString() ?? null,
    valid_until: terms.validUntil?.toISOString() ?? null,
    unlocks_hidden_tickets: terms.unlocksHiddenTickets,
    prefix: terms.prefix,
  }
}

const MAX_USES_LIMIT = 1_000_000

/** The maximum length of a code with its prefix. */
const MAX_CODE_LENGTH = 100

/** With the longest random part (32 symbols), a code has at most 100 characters. */
const MAX_PREFIX_LENGTH = 68

function discountProblem({ voucherType, discountValue }: VoucherTerms): string | null {
  if (discountValue < 0 || discountValue > STRIPE_MAXIMUM_AMOUNT) {
    return `must be from 0 to ${STRIPE_MAXIMUM_AMOUNT}`
  }
  return discountRule({ voucher_type: voucherType, discount_value: discountValue })
}

function windowProblem({ validFrom, validUntil }: VoucherTerms, now: Date): string | null {
  if (validUntil === null) return null
  if (validFrom !== null && validUntil <= validFrom) return 'must be after valid_from'
  return validUntil > now ? null : 'must be in the future'
}

/**
 * Every rule that the terms break; empty if vouchers can be issued with them. It is checked when a
 * purchase or a batch is created, so that no purchase fails after it was paid.
 *
 * @returns pointers relative to the object that holds the terms, such as `/discount_value`.
 */
export function voucherTermsProblems(terms: VoucherTerms, now: Date): FieldError[] {
  const maxUsesFit =
    Number.isInteger(terms.maxUses) && terms.maxUses >= 1 && terms.maxUses <= MAX_USES_LIMIT
  const prefixFits = /^[A-Z0-9-]*$/.test(terms.prefix) && terms.prefix.length <= MAX_PREFIX_LENGTH
  const found: [string, string | null][] = [
    ['/discount_value', discountProblem(terms)],
    ['/max_uses', maxUsesFit ? null : `must be an integer from 1 to ${MAX_USES_LIMIT}`],
    ['/valid_until', windowProblem(terms, now)],
    [
      '/prefix',
      prefixFits ? null : `must be at most ${MAX_PREFIX_LENGTH} characters of A-Z, 0-9 and hyphen`,
    ],
  ]
  return found.flatMap(([pointer, detail]) => (detail === null ? [] : [{ pointer, detail }]))
}

/**
 * `{WORD}-{SPONSORSLUG}-`, or `{WORD}-` without a sponsor. A long slug is cut, so that the prefix has at
 * most 68 characters and the code, with its `codeLength` symbols, at most 100.
 */
export function sponsorPrefix(
  word: string,
  sponsorSlug: string | null,
  codeLength: number,
): string {
  if (sponsorSlug === null) return `${word}-`
  const name = sponsorSlug.toUpperCase().replace(/[^A-Z0-9-]/g, '')
  const room = Math.min(MAX_PREFIX_LENGTH, MAX_CODE_LENGTH - codeLength) - word.length - 2
  const cut = name.length > room ? name.slice(0, room).replace(/-+$/, '') : name
  return cut === '' ? `${word}-` : `${word}-${cut}-`
}

/** The default prefix of purchases: `BULK-{SPONSORSLUG}-`, or `BULK-` without a sponsor. */
export function defaultPrefix(sponsorSlug: string | null, codeLength: number): string {
  return sponsorPrefix('BULK', sponsorSlug, codeLength)
}
