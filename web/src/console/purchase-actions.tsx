import { type ReactNode, useState } from 'react'
import { useAction, useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { CopyButton, Money } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { TextField } from '../ui/form.tsx'
import { plural } from '../ui/format.ts'
import { EditDialog } from './edit-purchase.tsx'
import { MarkPaidDialog } from './mark-paid.tsx'
import { type ActionProps, purchasesKey } from './purchase-data.ts'
import type { Purchase } from './purchase-list.ts'
import { RefundDialog } from './refund-purchase.tsx'

type Action = Purchase['allowed_actions'][number]

const ACTIONS: readonly {
  action: Action
  label: string
  kind?: 'primary' | 'danger'
  needs: 'purchases:write' | 'refunds:write'
  dialog: (props: ActionProps) => ReactNode
}[] = [
  {
    action: 'approve',
    label: 'Approve',
    kind: 'primary',
    needs: 'purchases:write',
    dialog: (props) => <ApproveDialog {...props} />,
  },
  {
    action: 'checkout',
    label: 'Payment link',
    needs: 'purchases:write',
    dialog: (props) => <LinkDialog {...props} />,
  },
  {
    action: 'mark_paid',
    label: 'Mark paid',
    needs: 'purchases:write',
    dialog: (props) => <MarkPaidDialog {...props} />,
  },
  {
    action: 'update',
    label: 'Change',
    needs: 'purchases:write',
    dialog: (props) => <EditDialog {...props} />,
  },
  {
    action: 'refund',
    label: 'Refund',
    needs: 'refunds:write',
    dialog: (props) => <RefundDialog {...props} />,
  },
  {
    action: 'revoke',
    label: 'Revoke',
    kind: 'danger',
    needs: 'purchases:write',
    dialog: (props) => <RevokeDialog {...props} />,
  },
  {
    action: 'cancel',
    label: 'Cancel purchase',
    kind: 'danger',
    needs: 'purchases:write',
    dialog: (props) => <CancelDialog {...props} />,
  },
]

/** The buttons for what is possible now. */
export function PurchaseActions({ scope, purchase }: Omit<ActionProps, 'onClose'>) {
  const [open, setOpen] = useState<Action | null>(null)
  const allowed: readonly Action[] = purchase.allowed_actions
  const possible = ACTIONS.filter(
    ({ action, needs }) => allowed.includes(action) && scope.may(needs),
  )
  const canRefresh = allowed.includes('reconcile') && scope.may('purchases:write')
  if (possible.length === 0 && !canRefresh) return null
  const props = { scope, purchase, onClose: () => setOpen(null) }
  return (
    <div className="row">
      {possible.map(({ action, label, kind }) => (
        <Button key={action} kind={kind ?? 'normal'} onPress={() => setOpen(action)}>
          {label}
        </Button>
      ))}
      {canRefresh ? <RefreshButton scope={scope} purchase={purchase} /> : null}
      {ACTIONS.find(({ action }) => action === open)?.dialog(props)}
    </div>
  )
}

function RefreshButton({
  scope: { conference },
  purchase: { id: purchase },
}: Omit<ActionProps, 'onClose'>) {
  const refresh = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/reconcile', {
          params: { path: { conference, purchase }, header: { 'Idempotency-Key': key } },
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'Refreshed from Stripe.',
  })
  return (
    <Button busy={refresh.isPending} onPress={() => refresh.mutate()}>
      Refresh from Stripe
    </Button>
  )
}

function ApproveDialog({ scope: { conference }, purchase, onClose }: ActionProps) {
  const { id, quantity, sponsor_name: sponsor } = purchase
  const approve = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/approve', {
          params: { path: { conference, purchase: id }, header: { 'Idempotency-Key': key } },
          // What the person saw is what is approved.
          body: { quantity },
        }),
      ),
    changes: [purchasesKey(conference)],
    done: `${plural(quantity, 'code')} issued.`,
    onDone: onClose,
  })
  return (
    <Dialog title="Approve this free purchase" isOpen onClose={onClose}>
      <p>
        {sponsor ?? 'The buyer'} gets {plural(quantity, 'code')} at no cost.
      </p>
      <DialogButtons
        action="Approve"
        onAction={() => approve.mutate()}
        onClose={onClose}
        busy={approve.isPending}
      />
    </Dialog>
  )
}

function RevokeDialog({ scope: { conference }, purchase, onClose }: ActionProps) {
  const [note, setNote] = useState('')
  const { redeemed } = purchase.vouchers
  const revoke = useFormAction({
    run: (body: Schema<'PurchaseRevocation'>, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/revoke', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          body,
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'Revoked. The codes do not work any more.',
    onDone: onClose,
  })
  return (
    <Dialog title="Revoke this free purchase" isOpen onClose={onClose}>
      <p>
        All codes stop working.
        {redeemed === 0 ? '' : ` ${plural(redeemed, 'code was', 'codes were')} used already.`}
      </p>
      <TextField
        label="Note"
        name="note"
        error={revoke.error}
        hint="Sponsors do not see it."
        value={note}
        onChange={setNote}
      />
      <DialogButtons
        action="Revoke"
        danger
        onAction={() => revoke.mutate(note.trim() === '' ? {} : { note: note.trim() })}
        onClose={onClose}
        busy={revoke.isPending}
      />
    </Dialog>
  )
}

function CancelDialog({ scope: { conference }, purchase: { id }, onClose }: ActionProps) {
  const cancel = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/cancel', {
          params: { path: { conference, purchase: id }, header: { 'Idempotency-Key': key } },
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'Cancelled.',
    onDone: onClose,
  })
  return (
    <Dialog title="Cancel this purchase" isOpen onClose={onClose}>
      <p>An open payment page is closed. No money is taken.</p>
      <DialogButtons
        action="Cancel purchase"
        danger
        onAction={() => cancel.mutate()}
        onClose={onClose}
        busy={cancel.isPending}
      />
    </Dialog>
  )
}

/** Opens the payment page and shows its address, to be sent to the payer. */
function LinkDialog({ scope: { conference }, purchase, onClose }: ActionProps) {
  // Payers come back to the portal of their sponsor.
  const back = `${location.origin}/portal/${conference}/purchases/${purchase.id}`
  const create = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/checkout', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          body: { success_url: back, cancel_url: back },
        }),
      ),
    changes: [purchasesKey(conference)],
  })
  const url = create.data?.url ?? purchase.checkout?.url ?? null
  return (
    <Dialog title="Payment link" isOpen onClose={onClose}>
      <p>
        Whoever has the link can pay{' '}
        <Money amount={purchase.total_amount} currency={purchase.currency} /> on Stripe’s page.
      </p>
      {url === null ? (
        <DialogButtons
          action="Create the link"
          onAction={() => create.mutate()}
          onClose={onClose}
          busy={create.isPending}
        />
      ) : (
        <div className="stack">
          <code className="code">{url}</code>
          <div className="dialog-buttons">
            <Button kind="quiet" onPress={onClose}>
              Close
            </Button>
            <CopyButton text={url} label="Copy the link" />
          </div>
        </div>
      )}
    </Dialog>
  )
}
