import type { Dispatch, SetStateAction } from 'react'
import type { ApiError, Schema } from '../api/client.ts'
import { NumberField, SelectField } from '../ui/choices.tsx'
import { CheckboxField, TextField } from '../ui/form.tsx'
import { fromTimeField, toTimeField } from '../ui/format.ts'
import { MoneyField } from '../ui/money-field.tsx'

type Terms = Schema<'VoucherConfig'>

/** What a code gives, as the API takes it; a field is absent as long as the item decides it. */
export type TermsInput = Partial<Terms>

const TYPES = [
  { key: 'comp', label: 'A free ticket' },
  { key: 'percentage', label: 'Percent off' },
  { key: 'fixed_amount', label: 'An amount off' },
] as const

/** Fields for what a code gives. They write only what the person changes. */
export function TermsFields({
  terms,
  onChange,
  currency,
  error,
}: {
  terms: TermsInput
  onChange: Dispatch<SetStateAction<TermsInput>>
  currency: string
  error: ApiError | null
}) {
  // A number field tells its value when the next field is pressed, so a change builds on the newest one.
  const set = (change: TermsInput) => onChange((now) => ({ ...now, ...change }))
  const type = terms.voucher_type ?? null
  return (
    <fieldset className="field-group">
      <legend>What a code gives</legend>
      <SelectField
        label="A code gives"
        value={type}
        placeholder="As the item says"
        onChange={(next) =>
          // The value has another unit: percent or money.
          onChange((now) => ({
            ...withoutValue(now),
            voucher_type: next,
            ...(next === 'comp' ? { discount_value: 100 } : {}),
          }))
        }
        options={TYPES}
      />
      {type === 'percentage' ? (
        <NumberField
          label="Percent"
          name="voucher_config/discount_value"
          value={terms.discount_value ?? Number.NaN}
          onChange={(value) => set({ discount_value: value })}
          min={1}
          max={100}
          error={error}
          isRequired
        />
      ) : null}
      {type === 'fixed_amount' ? (
        <MoneyField
          label="Amount off"
          name="voucher_config/discount_value"
          currency={currency}
          value={terms.discount_value ?? null}
          onChange={(value) => (value === null ? null : set({ discount_value: value }))}
          error={error}
          isRequired
        />
      ) : null}
      <NumberField
        label="Uses of a code"
        name="voucher_config/max_uses"
        value={terms.max_uses ?? Number.NaN}
        onChange={(uses) => (Number.isNaN(uses) ? null : set({ max_uses: uses }))}
        min={1}
        error={error}
      />
      <TextField
        label="Valid from"
        name="voucher_config/valid_from"
        type="datetime-local"
        value={toTimeField(terms.valid_from)}
        onChange={(text) => set({ valid_from: fromTimeField(text) })}
        error={error}
      />
      <TextField
        label="Valid until"
        name="voucher_config/valid_until"
        type="datetime-local"
        value={toTimeField(terms.valid_until)}
        onChange={(text) => set({ valid_until: fromTimeField(text) })}
        error={error}
      />
      <TextField
        label="Codes begin with"
        name="voucher_config/prefix"
        value={terms.prefix ?? ''}
        onChange={(prefix) => set({ prefix })}
        error={error}
      />
      <CheckboxField
        label="Shows hidden tickets"
        value={terms.unlocks_hidden_tickets ?? false}
        onChange={(unlocks) => set({ unlocks_hidden_tickets: unlocks })}
      />
    </fieldset>
  )
}

function withoutValue(terms: TermsInput): TermsInput {
  const rest = { ...terms }
  delete rest.discount_value
  return rest
}
