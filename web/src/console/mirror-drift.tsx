import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable, type Tone } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import type { ConsoleScope } from './scope.ts'
import { nameOfMany, pathOf } from './stripe-objects.ts'

type DriftLine = Schema<'DriftLine'>

const PATH = '/v1/conferences/{conference}/stripe'

const KINDS: Record<DriftLine['kind'], { tone: Tone; word: string }> = {
  missing: { tone: 'warn', word: 'Only here' },
  extra: { tone: 'warn', word: 'Only at Stripe' },
  different: { tone: 'bad', word: 'Different' },
}

const REPAIR_MS = 2_000
const QUIET_MS = 30_000

/** Where the purchases differ from the mirror, and how to repair it. */
export function Drift({ scope: { conference } }: { scope: ConsoleScope }) {
  const [isRepairing, setRepairing] = useState(false)
  const drift = useQuery({
    queryKey: ['drift', conference],
    queryFn: () =>
      dataOf(api.GET(`${PATH}/drift`, { params: { path: { conference }, query: { limit: 25 } } })),
    // A repair works in the background.
    refetchInterval: isRepairing ? REPAIR_MS : QUIET_MS,
  })
  return (
    <section className="stack">
      <h2>Differences to the purchases</h2>
      <Loaded query={drift} lines={2}>
        {({ data, mirror }) => {
          const unsynced = Object.entries(mirror).flatMap(([resource, { synced_at: at }]) =>
            at === null ? [nameOfMany(resource.replaceAll('_', '-')).toLowerCase()] : [],
          )
          return (
            <>
              {unsynced.length === 0 ? null : (
                <p className="note note-warn">
                  Not synced yet: {unsynced.join(', ')}. Until they are, this list is not complete.
                </p>
              )}
              {data.length === 0 ? (
                <Empty title="No difference was found." />
              ) : (
                <DataTable
                  caption="Differences"
                  rows={data}
                  keyOf={({ what, purchase, stripe_id: id, field }) =>
                    `${what} ${purchase} ${id} ${field}`
                  }
                  columns={[
                    { head: 'What', cell: (line) => <What line={line} /> },
                    { head: 'Here', cell: ({ here }) => here ?? '–' },
                    { head: 'At Stripe', cell: ({ there }) => there ?? '–' },
                    {
                      head: 'Purchase',
                      cell: ({ purchase }) =>
                        purchase === null ? '–' : <Link href={`/purchases/${purchase}`}>Open</Link>,
                    },
                    {
                      head: 'Repair',
                      cell: (line) => (
                        <Repair
                          conference={conference}
                          line={line}
                          onBegun={() => setRepairing(true)}
                        />
                      ),
                    },
                  ]}
                />
              )}
            </>
          )
        }}
      </Loaded>
    </section>
  )
}

function What({ line: { kind, what, field, resource, stripe_id: id } }: { line: DriftLine }) {
  const name = what.replaceAll('_', ' ')
  return (
    <span>
      {name.replace(/^\w/, (first) => first.toUpperCase())}
      {field === null ? '' : `: ${field.replaceAll('_', ' ')}`}{' '}
      <Badge tone={KINDS[kind].tone}>{KINDS[kind].word}</Badge>
      {id === null ? null : (
        <span className="hint block">
          <Link className="code" href={pathOf(resource, id)}>
            {id}
          </Link>
        </span>
      )}
    </span>
  )
}

type RepairRequest = NonNullable<DriftLine['repair']>['request']

function Repair({
  conference,
  line,
  onBegun,
}: {
  conference: string
  line: DriftLine
  onBegun: () => void
}) {
  const [isDone, setDone] = useState(false)
  const repair = useAction<RepairRequest>({
    run: (request, key): Promise<unknown> => {
      const header = { 'Idempotency-Key': key }
      if (line.purchase !== null && request.path.endsWith('/reconcile')) {
        return dataOf(
          api.POST('/v1/conferences/{conference}/purchases/{purchase}/reconcile', {
            params: { path: { conference, purchase: line.purchase }, header },
            body: request.body ?? {},
          }),
        )
      }
      return dataOf(
        api.POST(`${PATH}/{resource}/sync`, {
          params: { path: { conference, resource: line.resource }, header },
          body: { ...request.body, force: false, dry_run: false },
        }),
      )
    },
    changes: [
      ['drift', conference],
      ['sync-runs', conference],
    ],
    done: 'The repair has begun.',
    // Also if the line is gone by now.
    onAnswer: onBegun,
    onDone: () => setDone(true),
  })
  const { repair: known } = line
  if (known === null) return 'Check the Stripe dashboard'
  return (
    <Button
      small
      busy={repair.isPending}
      isDisabled={isDone}
      onPress={() => repair.mutate(known.request)}
    >
      Repair
    </Button>
  )
}
