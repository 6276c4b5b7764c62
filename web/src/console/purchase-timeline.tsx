import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Money, When } from '../ui/data.tsx'
import { Failure, Loading } from '../ui/feedback.tsx'
import { OtherErrors, TextField } from '../ui/form.tsx'
import { purchasesKey, type Transition, useTransitions } from './purchase-data.ts'
import type { Purchase } from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'

const EVENTS: Record<string, string> = {
  CHECKOUT_OPENED: 'Payment page opened',
  COMP_APPROVED: 'Approved',
  COMP_REVOKED: 'Revoked',
  PAYMENT_RECORDED: 'Payment recorded',
  PAYMENT_SUCCEEDED: 'Payment received',
  PAYMENT_MISMATCHED: 'Payment of another amount received',
  PAYMENT_PENDING: 'Bank payment pending',
  PAYMENT_DECLINED: 'Payment declined',
  PAYMENT_FAILED: 'Payment failed',
  CHECKOUT_EXPIRED: 'Payment page expired',
  CANCELLED: 'Cancelled',
  SECOND_PAYMENT: 'Second payment received',
  REFUND_PENDING: 'Refund pending',
  PARTIALLY_REFUNDED: 'Refunded in part',
  REFUNDED: 'Refunded',
  REFUND_FAILED: 'Refund failed',
  DISPUTE_OPENED: 'Dispute opened',
  DISPUTE_WON: 'Dispute won',
  DISPUTE_LOST: 'Dispute lost',
  FRAUD_WARNED: 'Fraud warning',
  REINSTATED: 'Reinstated',
  NOTE_ADDED: 'Note',
}

/** Who did what, when and why, newest first. */
export function Timeline({ scope, purchase }: { scope: ConsoleScope; purchase: Purchase }) {
  const history = useTransitions(scope.conference, purchase.id)
  const { data, error } = history
  return (
    <section className="card stack">
      <h2>History</h2>
      {scope.may('purchases:write') ? <NewNote scope={scope} purchase={purchase} /> : null}
      {data === undefined ? (
        error === null ? (
          <Loading />
        ) : (
          <Failure error={error} retry={() => void history.refetch()} />
        )
      ) : (
        <ol className="timeline">
          {data.pages
            .flatMap((page) => page.data)
            .map((step) => (
              <Step key={step.id} step={step} currency={purchase.currency} />
            ))}
          {history.hasNextPage ? null : (
            <li>
              <strong>Ordered</strong>
              <p className="muted">
                {purchase.requested_by_name ?? 'unknown'}, <When at={purchase.created_at} />
              </p>
            </li>
          )}
        </ol>
      )}
      {history.hasNextPage ? (
        <Button busy={history.isFetchingNextPage} onPress={() => void history.fetchNextPage()}>
          Show older
        </Button>
      ) : null}
    </section>
  )
}

const REASONS: ReadonlySet<string> = new Set(['cancelled', 'checkout_expired'])

function Step({ step, currency }: { step: Transition; currency: string }) {
  const { event, from, to, code, amount, note, actor, cause } = step
  return (
    <li className={`step step-${to.toLowerCase()}`}>
      <p className="row">
        <strong>{EVENTS[event] ?? event}</strong>
        {amount === null ? null : <Money amount={amount} currency={currency} />}
        {code === null || REASONS.has(code) ? null : <span>{code.replaceAll('_', ' ')}</span>}
        {from === to ? null : (
          <span className="muted">
            {from} → {to}
          </span>
        )}
      </p>
      {note === null ? null : <p className="lines">{note}</p>}
      <p className="muted">
        {actor.name ?? actor.id}, <When at={step.created_at} />
        {actor.kind === 'stripe' ? (
          <>
            {', '}
            <code>{cause}</code> <code>{actor.id}</code>
          </>
        ) : null}
      </p>
    </li>
  )
}

function NewNote({
  scope: { conference },
  purchase: { id: purchase },
}: {
  scope: ConsoleScope
  purchase: Purchase
}) {
  const [note, setNote] = useState('')
  const add = useFormAction<string>({
    run: (text, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/notes', {
          params: { path: { conference, purchase }, header: { 'Idempotency-Key': key } },
          body: { note: text },
        }),
      ),
    changes: [purchasesKey(conference)],
    onDone: () => setNote(''),
  })
  return (
    <form
      className="search"
      onSubmit={(event) => {
        event.preventDefault()
        if (note.trim() !== '') add.mutate(note.trim())
      }}
    >
      <TextField
        label="Note for your colleagues"
        name="note"
        error={add.error}
        value={note}
        onChange={setNote}
        placeholder="Sponsors do not see it"
      />
      <Button type="submit" busy={add.isPending} isDisabled={note.trim() === ''}>
        Add
      </Button>
      <OtherErrors error={add.error} shown={['note']} />
    </form>
  )
}
