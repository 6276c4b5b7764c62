import type { ApiError } from '../api/client.ts'
import { NumberField } from './choices.tsx'
import { exponentOf, formatMoney, toMinorUnits } from './format.ts'

/** A field for money. People type major units; its value has minor units, and is null while it is empty. */
export function MoneyField({
  label,
  currency,
  value,
  onChange,
  expected,
  hint,
  ...common
}: {
  label: string
  name: string
  currency: string
  value: number | null
  onChange: (minor: number | null) => void
  /** Shown as a hint. */
  expected?: number
  hint?: string | undefined
  error?: ApiError | null
  isRequired?: boolean
}) {
  const digits = exponentOf(currency)
  return (
    <NumberField
      {...common}
      label={`${label} (${currency})`}
      value={value === null ? Number.NaN : value / 10 ** digits}
      onChange={(major) => onChange(Number.isNaN(major) ? null : toMinorUnits(major, currency))}
      min={0}
      format={{ minimumFractionDigits: digits, maximumFractionDigits: digits }}
      hint={expected === undefined ? hint : `Expected: ${formatMoney(expected, currency)}`}
    />
  )
}
