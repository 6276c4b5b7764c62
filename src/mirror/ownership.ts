import { findSharingConferences, noteOtherConferences } from '../conferences/shared-accounts.ts'
import { tenantStatement } from '../db/tenant-scope.ts'
import { inParallel } from '../shared/in-parallel.ts'
import { fetchOrNull } from '../stripe/stripe-errors.ts'
import { idOf, type StripeObject } from '../stripe/stripe-objects.ts'
import {
  isForeignId,
  type ParentResource,
  type StripeResource,
  type SyncContext,
  tableOf,
} from './stripe-resource.ts'

// Two conferences can share a Stripe account. Then each of them lists the objects of both, with names,
// e-mail addresses and cards of the other one's payers. An object belongs to the conference that its
// metadata names, or else the payment, customer or subscription to which it belongs. In a shared account,
// an object that names no conference in this way is mirrored by none.

type Owner = 'ours' | 'other' | 'unknown'

const CONCURRENCY = 6

/** Balance transaction → dispute → charge → payment intent → customer. */
const MAX_DEPTH = 5

/** What one context has found out. A sync run has one context, so it asks once for each parent. */
type Findings = { isShared?: Promise<boolean>; owners: Map<string, Promise<Owner>> }

const findingsOf = new WeakMap<SyncContext, Findings>()

/**
 * Which of the objects the mirror of the conference may hold.
 *
 * @throws what the SDK throws when a parent must be fetched.
 */
export async function findOwned<T extends StripeObject>(
  context: SyncContext,
  resource: StripeResource<T>,
  objects: readonly T[],
): Promise<boolean[]> {
  const named = objects.map((object) => namedOwner(context, object))
  const others = objects.filter((_, index) => named[index] === 'other')
  const isDecided = context.ownsAll === true || !named.includes('unknown')
  const byName = named.map((owner) => owner !== 'other')
  if (isDecided && others.length === 0) return byName
  const isShared = await isAccountShared(context, others)
  if (isDecided || !isShared) return byName
  const owners = await inParallel(objects, CONCURRENCY, (object) =>
    findOwner(context, resource, object, 0),
  )
  return owners.map((owner) => owner === 'ours')
}

function namedOwner({ conferenceId }: SyncContext, { metadata }: StripeObject): Owner {
  const named = metadata?.['conference_id']
  if (named === undefined) return 'unknown'
  return named === conferenceId ? 'ours' : 'other'
}

function findings(context: SyncContext): Findings {
  const known = findingsOf.get(context) ?? { owners: new Map() }
  findingsOf.set(context, known)
  return known
}

/** @param others objects that name another conference. */
async function isAccountShared(
  context: SyncContext,
  others: readonly StripeObject[],
): Promise<boolean> {
  const { db, conferenceId } = context
  const known = findings(context)
  known.isShared ??= findSharingConferences(db, [conferenceId]).then((sharing) =>
    sharing.has(conferenceId),
  )
  if ((await known.isShared) || others.length === 0) return known.isShared
  const ids = others.flatMap(({ metadata }) => metadata?.['conference_id'] ?? [])
  if (await noteOtherConferences(db, conferenceId, ids)) known.isShared = Promise.resolve(true)
  return known.isShared
}

async function findOwner(
  context: SyncContext,
  resource: ParentResource,
  object: StripeObject,
  depth: number,
): Promise<Owner> {
  const named = namedOwner(context, object)
  if (named !== 'unknown') return named
  for (const [parent, pointer] of resource.belongsTo?.(object) ?? []) {
    const owner = await findOwnerOfParent(context, parent, idOf(pointer), depth + 1)
    if (owner !== 'unknown') return owner
  }
  return (await isUsedByOurs(context, resource, object.id)) ? 'ours' : 'unknown'
}

function findOwnerOfParent(
  context: SyncContext,
  resource: ParentResource,
  id: string | null,
  depth: number,
): Promise<Owner> | Owner {
  if (id === null || isForeignId(resource, id) || depth > MAX_DEPTH) return 'unknown'
  const { owners } = findings(context)
  const key = `${resource.name} ${id}`
  const found = owners.get(key) ?? fetchOwner(context, resource, id, depth)
  owners.set(key, found)
  // A failure must not decide for later objects.
  found.catch(() => owners.delete(key))
  return found
}

/** Looks into the mirror first. It also keeps what a deleted customer was. */
async function fetchOwner(
  context: SyncContext,
  resource: ParentResource,
  id: string,
  depth: number,
): Promise<Owner> {
  const [row] = await tenantStatement<{ data: StripeObject }>(
    context.db,
    context,
    (bind) => `select data from ${tableOf(resource)}
     where conference_id = ${bind(context.conferenceId)} and id = ${bind(id)}`,
  )
  const stored = row && (await findOwner(context, resource, row.data, depth))
  if (stored !== undefined && stored !== 'unknown') return stored
  const { stripe } = await context.connect()
  const object = await fetchOrNull(async () => resource.retrieve(stripe, id))
  return object === null ? 'unknown' : findOwner(context, resource, object, depth)
}

/** Whether a mirrored object that names our conference refers to this one, as a payment to its payer. */
async function isUsedByOurs(
  { db, conferenceId }: SyncContext,
  { usedBy = [] }: ParentResource,
  id: string,
): Promise<boolean> {
  if (usedBy.length === 0) return false
  const ours = JSON.stringify({ conference_id: conferenceId })
  const [row] = await tenantStatement<{ isUsed: boolean }>(db, { conferenceId }, (bind) => {
    const users = usedBy.map(
      ([name, column]) => `exists (select from ${tableOf({ name })}
          where conference_id = ${bind(conferenceId)} and ${column} = ${bind(id)}
            and metadata @> ${bind(ours)}::jsonb)`,
    )
    return `select ${users.join(' or ')} as "isUsed"`
  })
  return row?.isUsed === true
}
