import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { ApiError, api, dataOf, newIdempotencyKey } from '../api/client.ts'
import { Badge } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { plural } from '../ui/format.ts'
import { type Chosen, type Decision, WORDS } from './bulk-actions.tsx'
import type { ConsoleScope } from './scope.ts'

type Outcome = 'waits' | 'done' | { error: string }

/** Approves or revokes free purchases, one after the other, with a result for each. */
export function DecisionDialog({
  scope: { conference },
  chosen: { decision, purchases },
  onClose,
}: {
  scope: ConsoleScope
  chosen: Chosen
  onClose: () => void
}) {
  const queries = useQueryClient()
  const [outcomes, setOutcomes] = useState<Readonly<Record<string, Outcome>>>({})
  const [isRunning, setRunning] = useState(false)
  // A second run repeats what failed, under the same keys.
  const [keys] = useState(() => new Map(purchases.map(({ id }) => [id, newIdempotencyKey()])))
  const { action, done } = WORDS[decision]
  const left = purchases.filter(({ id }) => outcomes[id] !== 'done')
  const codes = purchases.reduce((sum, { quantity }) => sum + quantity, 0)

  async function run(): Promise<void> {
    setRunning(true)
    for (const { id, quantity } of left) {
      setOutcomes((before) => ({ ...before, [id]: 'waits' }))
      // One after the other: each answer is shown when it comes.
      // oxlint-disable-next-line no-await-in-loop
      const outcome = await decide(conference, decision, { id, quantity }, keys.get(id) ?? '')
      setOutcomes((before) => ({ ...before, [id]: outcome }))
    }
    setRunning(false)
    await queries.invalidateQueries({ queryKey: ['purchases', conference] })
  }

  return (
    <Dialog
      title={`${action} ${plural(purchases.length, 'free purchase')}`}
      isOpen
      onClose={onClose}
    >
      <p>
        {decision === 'approve'
          ? `${plural(codes, 'code')} will be issued.`
          : `The codes of these purchases will stop working.`}
      </p>
      <ul className="results">
        {purchases.map(({ id, sponsor_name: sponsor, description }) => (
          <li key={id} className="row row-apart">
            <span>{`${sponsor ?? 'No sponsor'}: ${description}`}</span>
            <Result outcome={outcomes[id]} done={done} />
          </li>
        ))}
      </ul>
      <DialogButtons
        action={left.length === 0 ? done : action}
        onAction={() => void run()}
        onClose={onClose}
        busy={isRunning}
        danger={decision === 'revoke'}
        isDisabled={left.length === 0}
      />
    </Dialog>
  )
}

function Result({ outcome, done }: { outcome: Outcome | undefined; done: string }) {
  if (outcome === undefined) return null
  if (outcome === 'waits') return <Badge tone="busy">In progress</Badge>
  if (outcome === 'done') return <Badge tone="good">{done}</Badge>
  return (
    <span className="field-error" role="alert">
      {outcome.error}
    </span>
  )
}

async function decide(
  conference: string,
  decision: Decision,
  { id: purchase, quantity }: { id: string; quantity: number },
  key: string,
): Promise<Outcome> {
  const params = { path: { conference, purchase }, header: { 'Idempotency-Key': key } }
  try {
    await dataOf(
      decision === 'approve'
        ? api.POST('/v1/conferences/{conference}/purchases/{purchase}/approve', {
            params,
            // What the person saw is what is approved.
            body: { quantity },
          })
        : api.POST('/v1/conferences/{conference}/purchases/{purchase}/revoke', { params }),
    )
    return 'done'
  } catch (error) {
    if (error instanceof ApiError) return { error: error.message }
    throw error
  }
}
