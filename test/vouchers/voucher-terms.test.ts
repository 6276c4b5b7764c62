import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { newCodes } from '../../src/vouchers/issue-vouchers.ts'
import { codeKey } from '../../src/vouchers/voucher.ts'
import {
  DEFAULT_TERMS,
  defaultPrefix,
  mergeTerms,
  toVoucherConfig,
  type VoucherTerms,
  voucherTermsProblems,
} from '../../src/vouchers/voucher-terms.ts'

const NOW = new Date('2026-11-01T12:00:00Z')
const terms = (changes: Partial<VoucherTerms> = {}): VoucherTerms => ({
  ...DEFAULT_TERMS,
  prefix: 'BULK-ACME-',
  ...changes,
})
const pointers = (changes: Partial<VoucherTerms>) =>
  voucherTermsProblems(terms(changes), NOW).map(({ pointer }) => pointer)

describe('D24: invalid terms', () => {
  it.each<[string, Partial<VoucherTerms>]>([
    ['150 percent', { voucherType: 'percentage', discountValue: 150 }],
    ['-5 percent', { voucherType: 'percentage', discountValue: -5 }],
    ['three decimals of a percent', { voucherType: 'percentage', discountValue: 33.333 }],
    ['a percentage that is no number', { voucherType: 'percentage', discountValue: Number.NaN }],
    ['half a cent', { voucherType: 'fixed_amount', discountValue: 10.5 }],
    ['a negative amount', { voucherType: 'fixed_amount', discountValue: -1 }],
    ['nine digits', { voucherType: 'fixed_amount', discountValue: 100_000_000 }],
    ['a comp of 50', { voucherType: 'comp', discountValue: 50 }],
  ])('refuses %s as discount_value', (_name, changes) => {
    expect(pointers(changes)).toEqual(['/discount_value'])
  })

  it.each([0, -1, 1.5, 1_000_001])('refuses max_uses %d', (maxUses) => {
    expect(pointers({ maxUses })).toEqual(['/max_uses'])
  })

  it('have an end that is not after the start', () => {
    const validFrom = new Date('2027-01-02T00:00:00Z')
    expect(pointers({ validFrom, validUntil: validFrom })).toEqual(['/valid_until'])
  })

  it('have an end in the past', () => {
    expect(pointers({ validUntil: NOW })).toEqual(['/valid_until'])
  })

  it.each(['bulk-', 'BULK_', 'BULK ', 'ÄCME-', '=1', 'A'.repeat(69)])(
    'refuses the prefix %s',
    (prefix) => {
      expect(pointers({ prefix })).toEqual(['/prefix'])
    },
  )

  it('name every broken rule together', () => {
    const changes: Partial<VoucherTerms> = {
      voucherType: 'percentage',
      discountValue: 101,
      maxUses: 0,
      validUntil: NOW,
      prefix: 'x',
    }
    expect(pointers(changes)).toEqual(['/discount_value', '/max_uses', '/valid_until', '/prefix'])
  })
})

describe('valid terms', () => {
  it.each<[string, Partial<VoucherTerms>]>([
    ['the defaults', {}],
    ['a comp of 100', { discountValue: 100 }],
    ['33.33 percent', { voucherType: 'percentage', discountValue: 33.33 }],
    ['0.29 percent', { voucherType: 'percentage', discountValue: 0.29 }],
    ['100 percent', { voucherType: 'percentage', discountValue: 100 }],
    ['the highest amount', { voucherType: 'fixed_amount', discountValue: 99_999_999 }],
    ['a million uses', { maxUses: 1_000_000 }],
    ['an end in the future', { validUntil: new Date('2027-01-01T00:00:00Z') }],
    ['no prefix', { prefix: '' }],
    ['the longest prefix', { prefix: 'A'.repeat(68) }],
  ])('accepts %s', (_name, changes) => {
    expect(pointers(changes)).toEqual([])
  })
})

describe('merged terms', () => {
  const base = terms({ voucherType: 'percentage', discountValue: 20, maxUses: 3 })

  it('keep the fields that the input lacks', () => {
    const merged = mergeTerms(base, { max_uses: 5, valid_until: '2027-01-01T01:00:00+01:00' })
    const validUntil = new Date('2027-01-01T00:00:00Z')
    expect(merged).toEqual({ ...base, maxUses: 5, validUntil })
  })

  it('remove a limit with null', () => {
    const bounded = terms({ validFrom: NOW, validUntil: NOW })
    expect(mergeTerms(bounded, { valid_from: null, valid_until: null })).toEqual(terms())
  })

  it('do not turn 20 percent into 20 cents when only the type changes', () => {
    const merged = mergeTerms(base, { voucher_type: 'fixed_amount' })
    expect(voucherTermsProblems(merged, NOW).map(({ pointer }) => pointer)).toEqual([
      '/discount_value',
    ])
    expect(mergeTerms(base, { voucher_type: 'comp' }).discountValue).toBe(0)
  })

  it('are shown as they were read', () => {
    const validUntil = new Date('2027-01-01T00:00:00Z')
    const full = terms({ ...base, validFrom: NOW, validUntil, unlocksHiddenTickets: true })
    expect(mergeTerms(terms(), toVoucherConfig(full))).toEqual(full)
  })
})

describe('prefixes', () => {
  it('contain the sponsor’s slug in upper case', () => {
    expect(defaultPrefix('acme-labs', 12)).toBe('BULK-ACME-LABS-')
    expect(defaultPrefix(null, 12)).toBe('BULK-')
  })

  it('D22: are cut, so that every code has at most 100 characters', () => {
    const slug = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,199}$/)
    fc.assert(
      fc.property(slug, fc.integer({ min: 8, max: 32 }), (sponsorSlug, codeLength) => {
        const prefix = defaultPrefix(sponsorSlug, codeLength)
        expect(voucherTermsProblems(terms({ prefix }), NOW)).toEqual([])
        expect(prefix).toMatch(/^BULK-[A-Z0-9-]*[A-Z0-9-]$/)
        expect(newCodes(prefix, codeLength, 1)[0]?.length).toBeLessThanOrEqual(100)
      }),
    )
    expect(defaultPrefix('a'.repeat(120), 12)).toBe(`BULK-${'A'.repeat(62)}-`)
  })
})

describe('codes', () => {
  it('are sorted and have no symbols that look alike', () => {
    const codes = newCodes('P-', 12, 2_000)
    expect(codes).toEqual(codes.toSorted())
    expect(new Set(codes).size).toBe(2_000)
    expect(codes.join('').replaceAll('P-', '')).not.toMatch(/[01IO]/)
  })

  it('of a part of a large batch are in their part of the range', () => {
    const parts = [0, 1, 2].map((part) =>
      newCodes('P-', 8, 500, { from: part / 3, to: (part + 1) / 3 }),
    )
    expect(parts.flat()).toEqual(parts.flat().toSorted())
    // A third of 32 symbols.
    const first = parts.map((codes) => new Set(codes.map((code) => code[2])).size)
    expect(first).toEqual([11, 12, 11])
  })

  it('use every symbol about equally often', () => {
    const symbols = newCodes('', 12, 10_000).join('')
    const counts = new Map<string, number>()
    for (const symbol of symbols) counts.set(symbol, (counts.get(symbol) ?? 0) + 1)
    expect(counts.size).toBe(32)
    // 120,000 draws of 32: 3,750 each, with a standard deviation of 60.
    for (const count of counts.values()) expect(Math.abs(count - 3_750)).toBeLessThan(420)
  })

  it('match by letters and digits only; case, spaces and hyphens do not matter', () => {
    expect(codeKey('bulk-acme-2345 6789')).toBe(codeKey('BULKACME23456789'))
  })
})
