import { Button } from '../ui/controls.tsx'
import { plural } from '../ui/format.ts'
import type { Purchase } from './purchase-list.ts'

export type Decision = 'approve' | 'revoke'

export const WORDS = {
  approve: { action: 'Approve', done: 'Approved' },
  revoke: { action: 'Revoke', done: 'Revoked' },
} as const

/** The free purchases that the person decided about. */
export type Chosen = { decision: Decision; purchases: readonly Purchase[] }

/** Chooses among the free purchases of a list, and what to do with them. */
export function BulkActions({
  chosen,
  free,
  onChoose,
  onDecide,
}: {
  chosen: readonly Purchase[]
  /** All of the list that can be decided. */
  free: readonly Purchase[]
  onChoose: (ids: readonly string[]) => void
  onDecide: (chosen: Chosen) => void
}) {
  const those = (decision: Decision) =>
    chosen.filter(({ allowed_actions: allowed }) => allowed.includes(decision))
  const button = (decision: Decision) => (
    <Button
      small
      kind={decision === 'revoke' ? 'danger' : 'normal'}
      isDisabled={those(decision).length === 0}
      onPress={() => onDecide({ decision, purchases: those(decision) })}
    >
      {WORDS[decision].action}
    </Button>
  )
  return (
    <div className="row">
      <span className="muted">
        {chosen.length === 0
          ? `${plural(free.length, 'free purchase')} in this list`
          : `${plural(chosen.length, 'purchase')} chosen`}
      </span>
      {chosen.length < free.length ? (
        <Button small kind="quiet" onPress={() => onChoose(free.map(({ id }) => id))}>
          Choose all
        </Button>
      ) : null}
      {chosen.length > 0 ? (
        <Button small kind="quiet" onPress={() => onChoose([])}>
          Choose none
        </Button>
      ) : null}
      {button('approve')}
      {button('revoke')}
    </div>
  )
}
