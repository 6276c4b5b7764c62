import { useState } from 'react'
import { useSearchParams } from 'wouter'
import { useAction } from '../api/actions.ts'
import { api, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { CopyButton, Money } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { ChangeOrder } from './change-order.tsx'
import { openCheckout, usePurchaseOptions } from './queries.ts'
import { SavedCard } from './saved-card.tsx'
import type { PortalScope } from './scope.ts'
import { flagSentences, isPayable, stateSentences } from './words.ts'

type Purchase = Schema<'Purchase'>
type Transition = Schema<'PurchaseTransition'>

/** What the purchase waits for, and what its sponsor can do: pay in one of the ways, change it, cancel it. */
export function NextStep({
  scope,
  purchase,
  history,
}: {
  scope: PortalScope
  purchase: Purchase
  /** Newest first; undefined while it loads. */
  history: readonly Transition[] | undefined
}) {
  const { status, allowed_actions: allowed } = purchase
  const [search, setSearch] = useSearchParams()
  const options = usePurchaseOptions(scope)
  const [opened, setOpened] = useState<'change' | 'cancel' | null>(null)
  const checkout = useAction({
    run: () => openCheckout(scope, purchase.id),
    changes: [['purchases', scope.conference, purchase.id]],
    onDone: ({ url }) => {
      if (url !== null) location.assign(url)
    },
  })
  const isBack =
    status === 'PROCESSING' && purchase.checkout?.url != null && search.get('from') === 'checkout'
  const mayPay = isPayable(purchase)
  const hasPage = options.data?.checkout === true
  const bank = options.data?.bank_details ?? null
  const showsBank = mayPay && bank !== null && (!hasPage || search.get('pay') === 'bank')
  const toggleBank = () =>
    setSearch((before) => {
      const after = new URLSearchParams(before)
      if (showsBank) after.delete('pay')
      else after.set('pay', 'bank')
      return after
    })
  return (
    <section className="card stack" aria-label="What is next">
      <div className="stack stack-tight" role="status">
        {isBack ? (
          <p className="row">
            <span className="spinner" aria-hidden="true" />
            Thank you. We are waiting for the confirmation of your payment. This page changes by
            itself.
          </p>
        ) : (
          stateSentences(purchase, history, options.data).map((text) => <p key={text}>{text}</p>)
        )}
        {flagSentences(purchase).map((text) => (
          <p key={text} className="note note-warn">
            {text}
          </p>
        ))}
      </div>
      {showsBank ? <BankTransfer purchase={purchase} details={bank} /> : null}
      <div className="row">
        {mayPay && hasPage ? (
          <>
            <Button
              kind={showsBank || isBack ? 'normal' : 'primary'}
              busy={checkout.isPending}
              onPress={() => checkout.mutate()}
            >
              {purchase.checkout?.url == null ? 'Pay now' : 'Continue to payment'}
            </Button>
            <SavedCard scope={scope} purchase={purchase} />
          </>
        ) : null}
        {mayPay && hasPage && bank !== null ? (
          <Button onPress={toggleBank} aria-expanded={showsBank}>
            {showsBank ? 'Hide the bank details' : 'We pay by bank transfer'}
          </Button>
        ) : null}
        {allowed.includes('update') && options.data !== undefined ? (
          <Button onPress={() => setOpened('change')}>Change the order</Button>
        ) : null}
        {allowed.includes('cancel') ? (
          <Button kind={mayPay ? 'quiet' : 'normal'} onPress={() => setOpened('cancel')}>
            Cancel the purchase
          </Button>
        ) : null}
      </div>
      {opened === 'change' && options.data !== undefined ? (
        <ChangeOrder
          scope={scope}
          purchase={purchase}
          options={options.data}
          onClose={() => setOpened(null)}
        />
      ) : null}
      {opened === 'cancel' ? (
        <CancelDialog scope={scope} purchase={purchase} onClose={() => setOpened(null)} />
      ) : null}
    </section>
  )
}

/** The organizers mark the purchase as paid when the money is on their account. */
function BankTransfer({ purchase, details }: { purchase: Purchase; details: string }) {
  return (
    <div className="panel stack">
      <p>
        Transfer the whole amount with the reference below. The organizers confirm the payment when
        it arrives, which can take some days. Then you get the codes.
      </p>
      <dl className="facts">
        <dt>Amount</dt>
        <dd>
          <Money amount={purchase.total_amount} currency={purchase.currency} />
        </dd>
        <dt>Reference</dt>
        <dd className="row">
          <code>{purchase.id}</code>
          <CopyButton text={purchase.id} label="Copy the reference" />
        </dd>
        <dt>Account</dt>
        <dd>
          <span className="lines">{details}</span>
        </dd>
      </dl>
      <CopyButton text={details} label="Copy the account" />
    </div>
  )
}

function CancelDialog({
  scope: { conference },
  purchase,
  onClose,
}: {
  scope: PortalScope
  purchase: Purchase
  onClose: () => void
}) {
  const cancel = useAction({
    run: (_input: undefined, idempotencyKey) =>
      api.POST('/v1/conferences/{conference}/purchases/{purchase}/cancel', {
        params: {
          path: { conference, purchase: purchase.id },
          header: { 'Idempotency-Key': idempotencyKey },
        },
        body: {},
      }),
    changes: [['purchases', conference]],
    done: 'The purchase is cancelled.',
    onDone: onClose,
  })
  return (
    <Dialog title="Cancel the purchase?" isOpen onClose={onClose}>
      <p>
        {purchase.total_amount === 0
          ? 'The organizers do not have to approve it any more. For free codes, order again.'
          : 'Nothing is charged, and an open payment page is closed. You can still pay later. If you have sent a bank transfer, tell the organizers.'}
      </p>
      <DialogButtons
        action="Cancel the purchase"
        danger
        busy={cancel.isPending}
        onAction={() => cancel.mutate(undefined)}
        onClose={onClose}
      />
    </Dialog>
  )
}
