import { type Dispatch, type SetStateAction, useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { type ApiError, api, dataOf, type Schema } from '../api/client.ts'
import { NumberField, SelectField } from '../ui/choices.tsx'
import { CheckboxField, TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { fromTimeField, toTimeField } from '../ui/format.ts'
import { MoneyField } from '../ui/money-field.tsx'
import type { CatalogueItem, CatalogueKind } from './names.ts'
import type { ConsoleScope } from './scope.ts'

const KINDS = {
  ticket_type: { path: 'ticket-types', title: 'Add a ticket type' },
  add_on: { path: 'add-ons', title: 'Add an add-on' },
} as const

type Values = Schema<'CreateCatalogItem'>

/** Creates or changes a ticket type or an add-on. */
export function CatalogueForm({
  scope: { conference, currency },
  kind,
  item,
  onClose,
}: {
  scope: ConsoleScope
  kind: CatalogueKind
  /** Null: a new one. */
  item: CatalogueItem | null
  onClose: () => void
}) {
  const { path, title } = KINDS[kind]
  const [name, setName] = useState(item?.name ?? '')
  const [description, setDescription] = useState(item?.description ?? '')
  const [price, setPrice] = useState(item?.price ?? null)
  const [isSold, setSold] = useState(item?.bulk_enabled ?? true)
  const [from, setFrom] = useState(toTimeField(item?.active_from))
  const [until, setUntil] = useState(toTimeField(item?.active_until))
  const [terms, setTerms] = useState(() => termsOf(item))
  const save = useFormAction({
    run: (body: Values, key) => {
      const header = { 'Idempotency-Key': key }
      if (item === null) {
        const params = { path: { conference }, header }
        return dataOf(api.POST(`/v1/conferences/{conference}/${path}`, { params, body }))
      }
      const params = { path: { conference, id: item.id }, header }
      return dataOf(api.PATCH(`/v1/conferences/{conference}/${path}/{id}`, { params, body }))
    },
    changes: [[path, conference]],
    done: ({ name: saved }) => `${saved} was saved.`,
    onDone: onClose,
  })
  return (
    <FormDialog
      wide
      title={item === null ? title : `Edit ${item.name}`}
      action="Save"
      onSubmit={() =>
        save.mutate({
          name,
          description: description.trim() === '' ? null : description,
          price: price ?? 0,
          bulk_enabled: isSold,
          active_from: fromTimeField(from, item?.active_from),
          active_until: fromTimeField(until, item?.active_until),
          voucher_defaults: toDefaults(terms, item),
        })
      }
      onClose={onClose}
      busy={save.isPending}
      isDisabled={price === null}
      error={save.error}
      shown={['name', 'description', 'price', 'active_from', 'active_until', ...TERM_NAMES]}
    >
      <div className="grid">
        <TextField
          label="Name"
          name="name"
          isRequired
          autoFocus
          value={name}
          onChange={setName}
          error={save.error}
        />
        <MoneyField
          label="Price of one code"
          name="price"
          currency={currency}
          isRequired
          value={price}
          onChange={setPrice}
          error={save.error}
          hint={item === null ? undefined : 'Purchases that exist keep their price.'}
        />
      </div>
      <TextField
        label="Description"
        name="description"
        lines={2}
        value={description}
        onChange={setDescription}
        error={save.error}
      />
      <CheckboxField label="Sponsors can see and buy it" value={isSold} onChange={setSold} />
      <div className="grid">
        <TextField
          label="On sale from"
          name="active_from"
          type="datetime-local"
          value={from}
          onChange={setFrom}
          error={save.error}
          hint="Empty: at once."
        />
        <TextField
          label="On sale until"
          name="active_until"
          type="datetime-local"
          value={until}
          onChange={setUntil}
          error={save.error}
          hint="Empty: without end."
        />
      </div>
      <TermFields terms={terms} onChange={setTerms} currency={currency} error={save.error} />
    </FormDialog>
  )
}

/** The terms of the codes, as people type them. */
type Terms = {
  type: 'comp' | 'percentage' | 'fixed_amount'
  /** Percent, or minor units; null while the field is empty. */
  value: number | null
  uses: number
  prefix: string
  from: string
  until: string
  unlocks: boolean
}

const TERM_NAMES = ['discount_value', 'max_uses', 'prefix', 'valid_from', 'valid_until'].map(
  (name) => `voucher_defaults/${name}`,
)

function termsOf(item: CatalogueItem | null): Terms {
  const terms = item?.voucher_defaults ?? {}
  return {
    type: terms.voucher_type ?? 'comp',
    value: terms.discount_value ?? null,
    uses: terms.max_uses ?? 1,
    prefix: terms.prefix ?? '',
    from: toTimeField(terms.valid_from),
    until: toTimeField(terms.valid_until),
    unlocks: terms.unlocks_hidden_tickets ?? false,
  }
}

function toDefaults(
  terms: Terms,
  item: CatalogueItem | null,
): NonNullable<Values['voucher_defaults']> {
  const { type, value, uses, prefix, from, until, unlocks } = terms
  const before = item?.voucher_defaults
  return {
    voucher_type: type,
    ...(type === 'comp' || value === null ? {} : { discount_value: value }),
    max_uses: uses,
    // An absent prefix is made from the name of the sponsor.
    ...(prefix === '' ? {} : { prefix: prefix.toUpperCase() }),
    valid_from: fromTimeField(from, before?.valid_from),
    valid_until: fromTimeField(until, before?.valid_until),
    unlocks_hidden_tickets: unlocks,
  }
}

function TermFields({
  terms,
  onChange,
  currency,
  error,
}: {
  terms: Terms
  onChange: Dispatch<SetStateAction<Terms>>
  currency: string
  error: ApiError | null
}) {
  // A number field tells its value when the next field is pressed, so a change builds on the newest one.
  const set = (change: Partial<Terms>) => onChange((now) => ({ ...now, ...change }))
  return (
    <fieldset className="fields">
      <legend>What a code gives</legend>
      <div className="grid">
        <SelectField
          label="Kind"
          value={terms.type}
          // The value has another unit: percent or money.
          onChange={(type) => set({ type, value: null })}
          options={[
            { key: 'comp', label: 'Free' },
            { key: 'percentage', label: 'Percent off' },
            { key: 'fixed_amount', label: 'Amount off' },
          ]}
        />
        {terms.type === 'percentage' ? (
          <NumberField
            label="Percent off"
            name="voucher_defaults/discount_value"
            isRequired
            min={0}
            max={100}
            value={terms.value ?? Number.NaN}
            onChange={(value) => set({ value: Number.isNaN(value) ? null : value })}
            error={error}
          />
        ) : null}
        {terms.type === 'fixed_amount' ? (
          <MoneyField
            label="Amount off"
            name="voucher_defaults/discount_value"
            currency={currency}
            isRequired
            value={terms.value}
            onChange={(value) => set({ value })}
            error={error}
          />
        ) : null}
        <NumberField
          label="Uses of one code"
          name="voucher_defaults/max_uses"
          isRequired
          min={1}
          value={terms.uses}
          onChange={(uses) => set({ uses })}
          error={error}
        />
        <TextField
          label="Prefix"
          name="voucher_defaults/prefix"
          value={terms.prefix}
          onChange={(prefix) => set({ prefix })}
          error={error}
          hint="Codes begin with it. Empty: made from the sponsor’s name."
        />
        <TextField
          label="Codes work from"
          name="voucher_defaults/valid_from"
          type="datetime-local"
          value={terms.from}
          onChange={(from) => set({ from })}
          error={error}
        />
        <TextField
          label="Codes work until"
          name="voucher_defaults/valid_until"
          type="datetime-local"
          value={terms.until}
          onChange={(until) => set({ until })}
          error={error}
        />
      </div>
      <CheckboxField
        label="Unlocks tickets that the shop hides"
        value={terms.unlocks}
        onChange={(unlocks) => set({ unlocks })}
      />
    </fieldset>
  )
}
