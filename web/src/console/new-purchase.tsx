import { useState } from 'react'
import { useLocation } from 'wouter'
import { useFormAction } from '../api/actions.ts'
import { ApiError, api, dataOf, newIdempotencyKey, type Schema } from '../api/client.ts'
import { NumberField, SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Money } from '../ui/data.tsx'
import { CheckboxField, OtherErrors, TextField } from '../ui/form.tsx'
import { MoneyField } from '../ui/money-field.tsx'
import { PageHead } from '../ui/shell.tsx'
import { toast } from '../ui/toasts.tsx'
import { useAddOns, useTicketTypes } from './names.ts'
import { purchasesKey } from './purchase-data.ts'
import type { ConsoleScope } from './scope.ts'
import { SponsorField } from './sponsor-field.tsx'
import { TermsFields, type TermsInput } from './voucher-terms.tsx'

const FREE_TEXT = 'text'

/** A catalogue item that can be chosen. */
type Item = {
  key: string
  label: string
  price: number
  body: { ticket_type?: string; add_on?: string }
}

function useItems(scope: ConsoleScope): Item[] {
  const { data: ticketTypes = [] } = useTicketTypes(scope)
  const { data: addOns = [] } = useAddOns(scope)
  return [
    ...ticketTypes.map(({ id, name, price }) => ({
      key: id,
      label: name,
      price,
      body: { ticket_type: id },
    })),
    ...addOns.map(({ id, name, price }) => ({ key: id, label: name, price, body: { add_on: id } })),
  ]
}

/** Staff order for a sponsor, at any price. A free order can be approved at once. */
export function NewPurchase({ scope }: { scope: ConsoleScope }) {
  const { conference, currency } = scope
  const [, navigate] = useLocation()
  const items = useItems(scope)
  const [sponsor, setSponsor] = useState<string | null>(null)
  const [chosen, setChosen] = useState<string | null>(null)
  const [quantity, setQuantity] = useState(Number.NaN)
  const [ownPrice, setOwnPrice] = useState<number | null>(null)
  const [isFree, setFree] = useState(false)
  const [description, setDescription] = useState('')
  const [reference, setReference] = useState('')
  const [terms, setTerms] = useState<TermsInput>({})
  const [hasTerms, setHasTerms] = useState(false)
  // With one ticket type there is nothing to choose.
  const key = chosen ?? (items.length === 1 ? (items[0]?.key ?? null) : null)
  const item = items.find((each) => each.key === key)
  const unit = isFree ? 0 : (ownPrice ?? item?.price ?? null)
  const create = useFormAction({
    run: async (body: Schema<'CreatePurchase'>, idempotencyKey) => {
      const purchase = await dataOf(
        api.POST('/v1/conferences/{conference}/purchases', {
          params: { path: { conference }, header: { 'Idempotency-Key': idempotencyKey } },
          body,
        }),
      )
      return isFree ? approve(conference, purchase) : purchase
    },
    changes: [purchasesKey(conference)],
    onDone: ({ id }) => navigate(`/purchases/${id}`),
  })
  const { error } = create
  return (
    <>
      <PageHead title="New purchase" />
      <form
        className="card stack"
        onSubmit={(event) => {
          event.preventDefault()
          create.mutate({
            ...item?.body,
            quantity,
            ...(sponsor === null ? {} : { sponsor }),
            ...(unit === null || unit === item?.price ? {} : { unit_amount: unit }),
            ...(description.trim() === '' ? {} : { description: description.trim() }),
            ...(reference.trim() === '' ? {} : { reference: reference.trim() }),
            ...(hasTerms && Object.keys(terms).length > 0 ? { voucher_config: terms } : {}),
          })
        }}
      >
        <div className="filters">
          <SponsorField
            scope={scope}
            value={sponsor}
            onChange={setSponsor}
            placeholder="Type a name"
            error={error?.fieldError('sponsor')}
          />
          <SelectField
            label="Item"
            name="ticket_type"
            value={key}
            onChange={setChosen}
            error={error}
            isRequired
            options={[
              ...items.map((each) => ({ key: each.key, label: each.label })),
              { key: FREE_TEXT, label: 'Something else' },
            ]}
          />
          <NumberField
            label="Number of codes"
            name="quantity"
            value={quantity}
            onChange={setQuantity}
            min={1}
            error={error}
            isRequired
          />
          {isFree ? null : (
            <MoneyField
              label="Price of one code"
              name="unit_amount"
              currency={currency}
              value={unit}
              onChange={setOwnPrice}
              error={error}
              isRequired
            />
          )}
          <TextField
            label="Reference"
            name="reference"
            value={reference}
            onChange={setReference}
            error={error}
            placeholder="Such as an order number"
          />
        </div>
        <TextField
          label="Description"
          name="description"
          value={description}
          onChange={setDescription}
          error={error}
          isRequired={key === FREE_TEXT}
          placeholder={item === undefined ? 'What the payer reads' : `As “${item.label}” says`}
        />
        <CheckboxField
          label="Free of charge: issue the codes at once"
          value={isFree}
          onChange={setFree}
        />
        <CheckboxField label="Change what a code gives" value={hasTerms} onChange={setHasTerms} />
        {hasTerms ? (
          <TermsFields terms={terms} onChange={setTerms} currency={currency} error={error} />
        ) : null}
        <OtherErrors
          error={error}
          shown={['sponsor', 'ticket_type', 'quantity', 'unit_amount', 'reference', 'description']}
        />
        <div className="row row-apart">
          <p>
            {unit === null || Number.isNaN(quantity) ? null : (
              <>
                Total: <Money amount={unit * quantity} currency={currency} />
              </>
            )}
          </p>
          <Button type="submit" kind="primary" busy={create.isPending}>
            {isFree ? 'Create and issue the codes' : 'Create'}
          </Button>
        </div>
      </form>
    </>
  )
}

/** If this fails, the purchase waits for an approval: its page says so. */
async function approve(
  conference: string,
  purchase: Schema<'Purchase'>,
): Promise<Schema<'Purchase'>> {
  try {
    return await dataOf(
      api.POST('/v1/conferences/{conference}/purchases/{purchase}/approve', {
        params: {
          path: { conference, purchase: purchase.id },
          header: { 'Idempotency-Key': newIdempotencyKey() },
        },
        body: { quantity: purchase.quantity },
      }),
    )
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    toast({ text: `Not approved yet: ${error.message}`, kind: 'error' })
    return purchase
  }
}
