import type { Command } from 'commander'
import { z } from 'zod'
import { ALL_RESOURCES, findResource } from '../mirror/resource-registry.ts'
import { runSyncInProcess } from '../mirror/runs/execute-sync-run.ts'
import type { SyncRunOptions } from '../mirror/runs/sync-run.ts'

import { toSyncRunBody } from '../mirror/runs/sync-run-schemas.ts'
import { countLiveRows } from '../mirror/runs/tombstone-missing.ts'
import {
  createSyncContext,
  isForeignId,
  type StripeResource,
  type SyncContext,
} from '../mirror/stripe-resource.ts'
import { timestampInput } from '../shared/time.ts'
import { SyncFailed, toFailure, toProblem, UsageError } from './cli-errors.ts'
import { conferenceWithKey, type Session, withLongSession } from './cli-session.ts'
import { answer, type Cli, parseInput, wantsJson } from './command.ts'
import {
  createSyncReporter,
  type SyncReporter,
  type SyncResult,
  silentReporter,
  syncSummary,
} from './sync-report.ts'
import { Interrupted } from './terminal.ts'

/** The resources to sync, in the order of their dependencies, and the options. */
type SyncRequest = {
  resources: StripeResource[]
  conference: string | undefined
  options: SyncRunOptions
}

const since = z.string().transform((text, context) => {
  const day = z.iso.date().safeParse(text)
  const moment = timestampInput.safeParse(day.success ? `${text}T00:00:00Z` : text)
  if (moment.success) return moment.data
  context.addIssue('must be a date such as 2027-01-31, or RFC 3339')
  return z.NEVER
})

const ids = z
  .string()
  .transform((text) => text.split(',').map((id) => id.trim()))
  .pipe(z.array(z.string().min(1, 'has an empty id').max(255)))

const input = z.strictObject({
  conference: z.string().min(1).optional(),
  ids: ids.optional(),
  since: since.optional(),
  force: z.boolean().default(false),
  dry_run: z.boolean().default(false),
})

/**
 * Checks the arguments and options of `sync`.
 *
 * @throws UsageError that lists the known resources or names the invalid option.
 */
export function toSyncRequest(
  names: readonly string[],
  fields: Record<string, unknown>,
): SyncRequest {
  const { conference, ids, since, force, dry_run: dryRun } = parseInput(input, fields)
  const resources = findResources(names)
  if (ids !== undefined) assertIdsFit(names, resources, ids)
  if (ids !== undefined && since !== undefined) {
    throw new UsageError('--ids and --since cannot be combined')
  }
  const options = { ids: ids ?? null, since: since ?? null, force, dryRun }
  return { resources: inDependencyOrder(resources), conference, options }
}

function findResources(names: readonly string[]): StripeResource[] {
  if (names.length === 1 && names[0] === 'all') return [...ALL_RESOURCES]
  return [...new Set(names)].map((name) => {
    if (name === 'all') throw new UsageError('`all` cannot be combined with other resources')
    const resource = findResource(name)
    if (resource !== undefined) return resource
    const known = ALL_RESOURCES.map((one) => one.name).join(', ')
    throw new UsageError(`unknown resource '${name}'; known resources: all, ${known}`)
  })
}

function assertIdsFit(
  names: readonly string[],
  resources: readonly StripeResource[],
  ids: readonly string[],
): void {
  const [resource] = resources
  if (names[0] === 'all' || resource === undefined || resources.length > 1) {
    throw new UsageError('--ids needs exactly one resource')
  }
  const foreign = ids.filter((id) => isForeignId(resource, id))
  if (foreign.length === 0) return
  const prefixes = resource.idPrefixes.join(' or ')
  throw new UsageError(
    `--ids ${foreign.join(',')}: ids of ${resource.name} begin with ${prefixes}`,
    foreign.map((id) => ({ pointer: '--ids', detail: `${id} must begin with ${prefixes}` })),
  )
}

/**
 * The same resources, each after its parent: a resource that is listed for every customer needs the
 * customers first.
 */
function inDependencyOrder(resources: readonly StripeResource[]): StripeResource[] {
  const ordered = new Set<StripeResource>()
  const place = (resource: StripeResource): void => {
    const { listing } = resource
    const parent =
      listing.by === 'parent' ? resources.find(({ name }) => name === listing.parent) : undefined
    if (parent !== undefined) place(parent)
    ordered.add(resource)
  }
  for (const resource of resources) place(resource)
  return [...ordered]
}

/**
 * Syncs the requested resources and prints the result.
 *
 * @throws SyncFailed if a resource was not synced; Interrupted.
 */
export async function performSync(cli: Cli, command: Command, request: SyncRequest): Promise<void> {
  const results = await sync(cli, command, request)
  answer(cli, command, toBody(results), (paint) => syncSummary(results, paint))
  if (cli.signal.aborted) throw new Interrupted()
  const failed = results.filter(({ run }) => run?.state !== 'succeeded')
  if (failed.length > 0) {
    throw new SyncFailed(
      failed.map(({ resource }) => resource),
      results.length,
    )
  }
}

function sync(cli: Cli, command: Command, request: SyncRequest): Promise<SyncResult[]> {
  const isJson = wantsJson(command)
  const reporter = isJson ? silentReporter : createSyncReporter(cli.terminal.err)
  return withLongSession(cli, async (session) => {
    if (cli.signal.aborted) throw new Interrupted()
    const conferenceId = await conferenceWithKey(session.db, request.conference)
    return runSyncs(session, conferenceId, request, { reporter, signal: cli.signal })
  })
}

function toBody(results: readonly SyncResult[]) {
  return {
    data: results.flatMap(({ run }) => (run === null ? [] : [toSyncRunBody(run)])),
    problems: results.flatMap(({ resource, problem }) =>
      problem === null ? [] : [{ resource, ...problem }],
    ),
  }
}

/**
 * Syncs one resource after the other in this process. A failure does not stop the others; the signal
 * does, after the current page is stored.
 *
 * @throws AppError `stripe_key_missing`, before the first run starts.
 */
async function runSyncs(
  session: Session,
  conferenceId: string,
  { resources, options }: SyncRequest,
  { reporter, signal }: { reporter: SyncReporter; signal: AbortSignal },
): Promise<SyncResult[]> {
  const context = createSyncContext(session, conferenceId, signal)
  await context.connect()
  const results: SyncResult[] = []
  for (const resource of resources) {
    if (signal.aborted) break
    const result = await tryOne(context, resource, {
      startedBy: 'cli',
      options,
      leaseSeconds: session.config.leaseSeconds,
      signal,
      ...reporter.begin(resource.name, await expected(context, resource, options)),
    })
    reporter.end(result)
    results.push(result)
  }
  return results
}

async function tryOne(
  context: SyncContext,
  resource: StripeResource,
  work: Parameters<typeof runSyncInProcess>[1],
): Promise<SyncResult> {
  const { name } = resource
  try {
    const run = await runSyncInProcess(resource.createAction(context), work)
    return { resource: name, run, problem: null }
  } catch (error) {
    return { resource: name, run: null, problem: toProblem(toFailure(error)) }
  }
}

/** The expected number of objects, if it can be estimated: Stripe does not count its lists. */
async function expected(
  { db, conferenceId }: SyncContext,
  resource: StripeResource,
  { ids, since }: SyncRequest['options'],
): Promise<number | null> {
  if (ids !== null) return ids.length
  if (since !== null) return null
  return (await countLiveRows(db, resource, conferenceId)) || null
}
