import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { type ApiError, api, dataOf, type Schema } from '../api/client.ts'
import { NumberField, SelectField } from '../ui/choices.tsx'
import { Money } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Failure, Loading } from '../ui/feedback.tsx'
import { TextField } from '../ui/form.tsx'
import { plural } from '../ui/format.ts'
import { MoneyField } from '../ui/money-field.tsx'
import { type ActionProps, purchasesKey, usePayments } from './purchase-data.ts'

type Body = Schema<'PurchaseRefund'>
type Preview = Schema<'RefundPreview'>

const KINDS = [
  { key: 'quantity', label: 'A number of codes' },
  { key: 'codes', label: 'Certain codes' },
  { key: 'amount', label: 'An amount' },
  { key: 'all', label: 'Everything that is left' },
] as const

type Kind = (typeof KINDS)[number]['key']

const REASONS = [
  { key: 'none', label: 'No reason' },
  { key: 'requested_by_customer', label: 'The sponsor asked for it' },
  { key: 'duplicate', label: 'Paid twice' },
  { key: 'fraudulent', label: 'Fraud' },
] as const

type Reason = (typeof REASONS)[number]['key']

const codesIn = (text: string) => text.split(/[\s,;]+/).filter((code) => code !== '')

/** What is refunded, as the API takes it; null while the form is not complete. */
function portionOf(
  kind: Kind,
  input: { quantity: number; codes: string; amount: number | null },
): Pick<Body, 'quantity' | 'codes' | 'amount'> | null {
  if (kind === 'quantity') {
    return Number.isNaN(input.quantity) ? null : { quantity: input.quantity }
  }
  if (kind === 'codes') {
    const codes = codesIn(input.codes)
    return codes.length === 0 ? null : { codes }
  }
  if (kind === 'amount') return input.amount === null ? null : { amount: input.amount }
  return {}
}

/** Refunds a payment in whole or in part, and shows first which codes stop working. */
export function RefundDialog({ scope: { conference }, purchase, onClose }: ActionProps) {
  const [kind, setKind] = useState<Kind>('quantity')
  const [quantity, setQuantity] = useState(Number.NaN)
  const [codes, setCodes] = useState('')
  const [amount, setAmount] = useState<number | null>(null)
  const [reason, setReason] = useState<Reason>('none')
  const [chosen, setChosen] = useState<string | null>(null)
  const { data: known } = usePayments(conference, purchase.id)
  const payments = (known?.payments ?? []).filter(({ amount_refundable: left }) => left > 0)
  const payment = chosen ?? (payments.length === 1 ? (payments[0]?.id ?? null) : null)
  const portion = portionOf(kind, { quantity, codes, amount })
  const body: Body | null =
    portion === null || payment === null
      ? null
      : { ...portion, payment_intent: payment, ...(reason === 'none' ? {} : { reason }) }
  const preview = usePreview(conference, purchase.id, body)
  const error = preview.error as ApiError | null
  const refund = useAction<Body>({
    run: (input, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/refund', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          body: input,
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'The refund is requested.',
    onDone: onClose,
  })
  return (
    <Dialog title="Refund" isOpen onClose={onClose}>
      {payments.length > 1 ? (
        <SelectField
          label="Payment"
          value={payment}
          onChange={setChosen}
          options={payments.map(({ id, kind: from }) => ({
            key: id,
            label: from === 'recorded' ? 'Recorded payment' : id,
          }))}
        />
      ) : null}
      <SelectField label="What to refund" value={kind} onChange={setKind} options={KINDS} />
      {kind === 'quantity' ? (
        <NumberField
          label="Number of codes"
          name="quantity"
          value={quantity}
          onChange={setQuantity}
          min={1}
          max={purchase.quantity}
          error={error}
        />
      ) : null}
      {kind === 'codes' ? (
        <TextField
          label="Codes"
          name="codes"
          lines={4}
          hint="One in each line. These stop working first."
          value={codes}
          onChange={setCodes}
          error={error}
        />
      ) : null}
      {kind === 'amount' ? (
        <MoneyField
          label="Amount"
          name="amount"
          currency={purchase.currency}
          value={amount}
          onChange={setAmount}
          error={error}
        />
      ) : null}
      <SelectField label="Reason" value={reason} onChange={setReason} options={REASONS} />
      <div aria-live="polite">
        {preview.data !== undefined && body !== null ? (
          <PreviewNote preview={preview.data} />
        ) : error !== null ? (
          <Failure error={error} />
        ) : body === null ? null : (
          <Loading lines={1} />
        )}
      </div>
      <DialogButtons
        action="Refund"
        danger
        onAction={() => {
          if (body !== null) refund.mutate(body)
        }}
        onClose={onClose}
        busy={refund.isPending}
        isDisabled={body === null || preview.data === undefined}
      />
    </Dialog>
  )
}

/** What the refund would do now. */
function usePreview(conference: string, purchase: string, body: Body | null) {
  return useQuery({
    queryKey: [...purchasesKey(conference), purchase, 'refund', body],
    enabled: body !== null,
    queryFn: async () =>
      (await dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/refund', {
          params: { path: { conference, purchase }, query: { dry_run: true } },
          ...(body === null ? {} : { body }),
        }),
      )) as Preview,
    retry: false,
  })
}

const SHOWN_CODES = 12

function PreviewNote({ preview }: { preview: Preview }) {
  const { amount, currency, quantity, codes, missing, payment_intent: payment } = preview
  const isBooked = payment.startsWith('rp_')
  return (
    <div className="note">
      <p>
        <strong>
          <Money amount={amount} currency={currency} />
        </strong>{' '}
        {isBooked
          ? 'is booked as paid back. Send the money yourself: this payment did not come by Stripe.'
          : 'goes back by Stripe.'}
      </p>
      <p>
        {quantity === 0
          ? 'No code stops working.'
          : `${plural(quantity, 'code')} will stop working:`}
      </p>
      {codes.length === 0 ? null : (
        <ul className="code-list">
          {codes.slice(0, SHOWN_CODES).map((code) => (
            <li key={code}>
              <code>{code}</code>
            </li>
          ))}
          {quantity > SHOWN_CODES ? <li>and {quantity - SHOWN_CODES} more</li> : null}
        </ul>
      )}
      {missing === 0 ? null : (
        <p>
          {plural(missing, 'code that must go is', 'codes that must go are')} used already. You will
          get a flag to decide what to do.
        </p>
      )}
    </div>
  )
}
