import { describe, expect, it } from 'vitest'
import { CURRENCIES, formatMoney as formatOfService } from '../../src/shared/money.ts'
import { formatMoney, formatStripeMoney, toMinorUnits } from '../../web/src/ui/format.ts'

const numberIn = (text: string) => Number(text.replaceAll(/[^\d.]/g, ''))

describe('an amount of money on the pages', () => {
  it.each(CURRENCIES)('has as many decimals as the service counts in %s', (currency) => {
    const amount = 123_450
    const major = numberIn(formatOfService(amount, currency))
    expect(numberIn(formatMoney(amount, currency))).toBe(major)
    expect(toMinorUnits(major, currency)).toBe(amount)
  })

  it('of Stripe is shown in the units of the service', () => {
    expect(numberIn(formatStripeMoney(500_00, 'isk'))).toBe(500)
    expect(numberIn(formatStripeMoney(500_00, 'eur'))).toBe(500)
    expect(numberIn(formatStripeMoney(500, 'jpy'))).toBe(500)
  })
})
