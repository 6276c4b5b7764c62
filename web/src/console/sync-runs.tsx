import { useQuery, useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { Link } from 'wouter'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable, type Tone, When } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { plural } from '../ui/format.ts'
import type { ConsoleScope } from './scope.ts'
import { isResource, nameOfMany, pathOf, type Resource } from './stripe-objects.ts'

type Run = Schema<'SyncRun'>

const PATH = '/v1/conferences/{conference}/stripe'

/** An active run shows its progress; others are looked for now and then. */
const ACTIVE_MS = 1_000
const QUIET_MS = 10_000

type SyncProps = {
  scope: ConsoleScope
  resource: Resource
  /** Only these. */
  ids?: readonly string[]
  /** Changes nothing, and says what would change. */
  dryRun?: boolean
  /** Marks any number of objects as deleted. */
  force?: boolean
}

function useSync({ scope: { conference }, resource, ids, dryRun, force }: SyncProps) {
  return useAction({
    run: (name: Resource, key) =>
      dataOf(
        api.POST(`${PATH}/{resource}/sync`, {
          params: {
            path: { conference, resource: name },
            header: { 'Idempotency-Key': key },
          },
          body: {
            ...(ids === undefined ? {} : { ids: [...ids] }),
            force: force === true,
            dry_run: dryRun === true,
          },
        }),
      ),
    changes: [['sync-runs', conference]],
    done:
      dryRun === true
        ? `The dry run of ${nameOfMany(resource).toLowerCase()} has begun.`
        : `The sync of ${nameOfMany(resource).toLowerCase()} has begun.`,
  })
}

/** Starts a sync of a resource, or of some of its objects. */
export function SyncButton({
  children,
  kind = 'normal',
  ...props
}: SyncProps & { children: ReactNode; kind?: 'normal' | 'primary' }) {
  const sync = useSync(props)
  return (
    <Button kind={kind} busy={sync.isPending} onPress={() => sync.mutate(props.resource)}>
      {children}
    </Button>
  )
}

const STATES: Record<Run['state'], { tone: Tone; word: string }> = {
  queued: { tone: 'neutral', word: 'Queued' },
  running: { tone: 'busy', word: 'Running' },
  succeeded: { tone: 'good', word: 'Succeeded' },
  failed: { tone: 'bad', word: 'Failed' },
  cancelled: { tone: 'warn', word: 'Cancelled' },
}

const isActive = ({ state }: Run) => state === 'queued' || state === 'running'

/** The newest runs with their progress. What they fetched is shown when they end. */
export function SyncRuns({ scope }: { scope: ConsoleScope }) {
  const { conference } = scope
  const queries = useQueryClient()
  const [shown, setShown] = useState<Run | null>(null)
  const runs = useQuery({
    queryKey: ['sync-runs', conference],
    queryFn: () =>
      dataOf(
        api.GET(`${PATH}/sync-runs`, { params: { path: { conference }, query: { limit: 5 } } }),
      ),
    refetchInterval: ({ state }) =>
      state.data?.data.some(isActive) === true ? ACTIVE_MS : QUIET_MS,
  })
  const ended = runs.data?.data.filter((run) => !isActive(run)).map(({ id }) => id)
  const known = ended?.join()
  const before = useRef<string | undefined>(undefined)
  useEffect(() => {
    const isFirst = before.current === undefined
    before.current = known
    if (isFirst || known === undefined) return
    void queries.invalidateQueries({ queryKey: ['mirror', conference] })
    void queries.invalidateQueries({ queryKey: ['drift', conference] })
  }, [known, queries, conference])
  return (
    <section className="stack">
      <h2>Newest syncs</h2>
      <Loaded query={runs} lines={2}>
        {({ data }) =>
          data.length === 0 ? (
            <Empty title="Nothing was synced yet." />
          ) : (
            <DataTable
              caption="Newest syncs"
              rows={data}
              keyOf={({ id }) => id}
              columns={[
                { head: 'Objects', cell: (run) => <Covered run={run} /> },
                { head: 'State', cell: (run) => <RunState run={run} /> },
                { head: 'So far', cell: (run) => <Progress run={run} /> },
                { head: 'Begun', cell: ({ created_at: at }) => <When at={at} ago /> },
                {
                  head: 'Actions',
                  cell: (run) => (
                    <RunActions scope={scope} run={run} onShow={() => setShown(run)} />
                  ),
                },
              ]}
            />
          )
        }
      </Loaded>
      {shown === null ? null : <RunDetails run={shown} onClose={() => setShown(null)} />}
    </section>
  )
}

function Covered({ run: { resource, ids, dry_run: isDry } }: { run: Run }) {
  const [only] = ids ?? []
  return (
    <span>
      {nameOfMany(resource)}
      {isDry ? (
        <>
          {' '}
          <Badge>Dry run</Badge>
        </>
      ) : null}
      {ids === null ? null : (
        <span className="hint block">
          {ids.length === 1 && only !== undefined && isResource(resource) ? (
            <Link className="code" href={pathOf(resource, only)}>
              {only}
            </Link>
          ) : (
            `Only ${plural(ids.length, 'object')}`
          )}
        </span>
      )}
    </span>
  )
}

function RunState({ run: { state, error } }: { run: Run }) {
  const { tone, word } = STATES[state]
  return (
    <span>
      <Badge tone={tone}>{word}</Badge>
      {error === null ? null : <span className="hint block">{error.message}</span>}
    </span>
  )
}

const OUTCOMES = [
  ['created', 'new'],
  ['updated', 'changed'],
  ['unchanged', 'the same'],
  ['deleted', 'deleted'],
  ['failed', 'failed'],
] as const

function Progress({ run: { counts, requests } }: { run: Run }) {
  const outcomes = OUTCOMES.flatMap(([name, word]) => {
    const count = counts[name] ?? 0
    return count === 0 ? [] : [`${count} ${word}`]
  })
  return (
    <span>
      {plural(counts['fetched'] ?? 0, 'object')}, {plural(requests, 'request')}
      {outcomes.length === 0 ? null : <span className="hint block">{outcomes.join(', ')}</span>}
    </span>
  )
}

/** Stripe had far fewer objects than the mirror, so the run changed nothing. */
const REFUSED = 'mass_deletion_refused'

function RunActions({ scope, run, onShow }: { scope: ConsoleScope; run: Run; onShow: () => void }) {
  const { resource, details, error } = run
  const isRefused = error?.code === REFUSED && isResource(resource)
  if (!isActive(run) && details.length === 0 && !isRefused) return <span className="muted">–</span>
  return (
    <span className="row">
      {isActive(run) ? <CancelRun scope={scope} run={run} /> : null}
      {details.length === 0 ? null : (
        <Button small onPress={onShow}>
          Details
        </Button>
      )}
      {isRefused ? <Force scope={scope} resource={resource} /> : null}
    </span>
  )
}

function CancelRun({ scope: { conference }, run }: { scope: ConsoleScope; run: Run }) {
  const cancel = useAction({
    run: (id: string, key) =>
      dataOf(
        api.POST(`${PATH}/sync-runs/{run}/cancel`, {
          params: { path: { conference, run: id }, header: { 'Idempotency-Key': key } },
        }),
      ),
    changes: [['sync-runs', conference]],
    done: 'The sync ends. What it stored is kept.',
  })
  return (
    <Button small busy={cancel.isPending} onPress={() => cancel.mutate(run.id)}>
      Cancel<span className="visually-hidden"> the sync of {nameOfMany(run.resource)}</span>
    </Button>
  )
}

function Force({ scope, resource }: { scope: ConsoleScope; resource: Resource }) {
  const [asks, setAsks] = useState(false)
  const sync = useSync({ scope, resource, force: true })
  return (
    <>
      <Button small kind="danger" onPress={() => setAsks(true)}>
        Sync anyway
      </Button>
      <Dialog title="Sync anyway?" isOpen={asks} onClose={() => setAsks(false)}>
        <p>
          Stripe no longer has many of these objects. The sync marks all of them as deleted. Do this
          only if they were really deleted at Stripe, and the key is that of the right account.
        </p>
        <DialogButtons
          action="Sync anyway"
          danger
          busy={sync.isPending}
          onAction={() => {
            sync.mutate(resource)
            setAsks(false)
          }}
          onClose={() => setAsks(false)}
        />
      </Dialog>
    </>
  )
}

const CHANGES: Record<Run['details'][number]['outcome'], { tone: Tone; word: string }> = {
  created: { tone: 'good', word: 'New' },
  updated: { tone: 'busy', word: 'Changed' },
  deleted: { tone: 'warn', word: 'Deleted' },
  failed: { tone: 'bad', word: 'Failed' },
}

/** Above that, a table is no help. */
const MAX_SHOWN = 200

function RunDetails({ run, onClose }: { run: Run; onClose: () => void }) {
  const { details, resource, dry_run: isDry } = run
  return (
    <Dialog title={`${nameOfMany(resource)} of this sync`} isOpen onClose={onClose} wide>
      {isDry ? (
        <p>This was a dry run: nothing was changed. A sync would make these changes.</p>
      ) : null}
      <DataTable
        caption="Objects of the sync"
        rows={details.slice(0, MAX_SHOWN)}
        keyOf={({ id }) => id}
        columns={[
          {
            head: 'Stripe id',
            cell: ({ id }) =>
              isResource(resource) ? (
                <Link className="code" href={pathOf(resource, id)}>
                  {id}
                </Link>
              ) : (
                <code>{id}</code>
              ),
          },
          {
            head: isDry ? 'Would be' : 'Result',
            cell: ({ outcome }) => (
              <Badge tone={CHANGES[outcome].tone}>{CHANGES[outcome].word}</Badge>
            ),
          },
          { head: 'Why', cell: ({ message }) => message ?? <span className="muted">–</span> },
        ]}
      />
      {details.length > MAX_SHOWN ? (
        <p className="hint">And {details.length - MAX_SHOWN} more.</p>
      ) : null}
      <DialogButtons action="Done" onAction={onClose} onClose={onClose} busy={false} />
    </Dialog>
  )
}
