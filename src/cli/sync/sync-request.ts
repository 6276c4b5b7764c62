import { z } from 'zod'
import { timestampInput } from '../../http/common-schemas.ts'
import { ALL_RESOURCES, findResource } from '../../stripe/sync/all-resources.ts'
import type { RunOptions } from '../../stripe/sync/runs/sync-run.ts'
import { isForeignId, type StripeResource } from '../../stripe/sync/stripe-resource.ts'
import { parseInput } from '../parse-input.ts'
import { UsageError } from '../usage-error.ts'
import { inDependencyOrder } from './dependency-order.ts'

/** What a command line asks to be synced, in the order in which it has to happen. */
export type SyncRequest = {
  resources: StripeResource[]
  conference: string | undefined
  options: RunOptions
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
 * @throws UsageError that says which resources there are, or which option is wrong.
 */
export function toSyncRequest(
  names: readonly string[],
  fields: Record<string, unknown>,
): SyncRequest {
  const { conference, ids, since, force, dry_run: dryRun } = parseInput(input, fields)
  const resources = findResources(names)
  if (ids !== undefined) assertIdsFit(names, resources, ids)
  if (ids !== undefined && since !== undefined) {
    throw new UsageError('--ids and --since exclude each other')
  }
  const options = { ids: ids ?? null, since: since ?? null, force, dryRun }
  return { resources: inDependencyOrder(resources), conference, options }
}

function findResources(names: readonly string[]): StripeResource[] {
  if (names.length === 1 && names[0] === 'all') return [...ALL_RESOURCES]
  return [...new Set(names)].map((name) => {
    if (name === 'all') throw new UsageError('all stands alone')
    const resource = findResource(name)
    if (resource !== undefined) return resource
    const known = ALL_RESOURCES.map((one) => one.name).join(', ')
    throw new UsageError(`unknown resource '${name}'; known are all, ${known}`)
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
