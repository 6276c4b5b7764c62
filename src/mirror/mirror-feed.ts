import type { Db } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { errorText } from '../stripe/stripe-errors.ts'
import type { StripeObject } from '../stripe/stripe-objects.ts'
import type { FetchRecording } from '../stripe/stripe-payment-gateway.ts'
import { type FetchTime, trackDatabaseClock } from './fetch-time.ts'
import {
  findStoredObjects,
  findUnmirrored,
  referenceKey,
  referencesOf,
  type StoredObject,
} from './mirror-object.ts'
import { resourceOfObject } from './resource-registry.ts'
import { createSyncContext, type Reference, type StripeResource } from './stripe-resource.ts'

/**
 * Stores objects in the mirror that were fetched from Stripe for another purpose, such as a payment
 * snapshot. Best effort: no call rejects or takes longer than a second, because a broken mirror must
 * not delay a purchase.
 */
export type MirrorFeed = {
  /** Starts to record the fetches of one task. @param takenAt a time before all of them. */
  begin(conferenceId: string, takenAt: FetchTime): FetchRecording
  /**
   * When each object in the mirror was fetched, by `referenceKey`. Omits objects whose time cannot be
   * read, and objects that refer to an object which is not in the mirror.
   *
   * @param objects with the earliest time that is new enough.
   */
  fetchTimes(
    conferenceId: string,
    objects: readonly MirroredObject[],
  ): Promise<ReadonlyMap<string, FetchTime>>
}

/** An object and the earliest time of a fetch of it that is new enough. */
export type MirroredObject = Reference & { after: FetchTime }

export function createMirrorFeed(deps: {
  db: Db
  clients: Pick<StripeClients, 'background'>
  logger: Logger
}): MirrorFeed {
  const { db, logger } = deps
  const queue = createBestEffortQueue(logger)
  const memory = createFetchMemory()

  async function store(
    conferenceId: string,
    objects: readonly StripeObject[],
    fetchedAt: FetchTime,
  ): Promise<void> {
    const context = { ...createSyncContext(deps, conferenceId), ownsAll: true }
    for (const [resource, ofResource] of groupByResource(objects)) {
      const synced = await resource.createAction(context).syncBatch(ofResource, fetchedAt)
      for (const [index, { outcome }] of synced.entries()) {
        const object = ofResource[index]
        if (object === undefined || outcome === 'foreign') continue
        memory.remember(conferenceId, resource.name, object, fetchedAt)
      }
    }
  }

  return {
    begin(conferenceId, takenAt) {
      const clock = trackDatabaseClock(takenAt)
      const writes: Promise<unknown>[] = []
      return {
        now: () => clock.now(),
        record(objects, fetchedAt) {
          const write = () => store(conferenceId, objects, fetchedAt)
          writes.push(queue.run('mirror: store fetched objects', write))
        },
        async settled() {
          await Promise.all(writes)
        },
      }
    },

    async fetchTimes(conferenceId, objects) {
      const known = new Map(
        objects.flatMap((object) => {
          const time = memory.fetchTime(conferenceId, object)
          return time === null || time < object.after ? [] : [[referenceKey(object), time]]
        }),
      )
      const others = objects.filter((object) => !known.has(referenceKey(object)))
      if (others.length === 0) return known
      const times = await queue.run('mirror: read fetch times', () =>
        fetchTimesOfComplete(db, conferenceId, others),
      )
      return new Map([...known, ...(times ?? [])])
    },
  }
}

/** Enough for the time between a snapshot and the end of its events. */
const MAX_REMEMBERED = 1_000

/**
 * Remembers what this process stored, which saves reading it back. Nothing makes it wrong: a row is never
 * deleted, and its fetch time only grows.
 */
function createFetchMemory() {
  const times = new Map<string, { fetchedAt: FetchTime; references: readonly Reference[] }>()
  const keyOf = (conferenceId: string, object: Reference) =>
    `${conferenceId} ${referenceKey(object)}`
  return {
    remember(conferenceId: string, resource: string, object: StripeObject, fetchedAt: FetchTime) {
      const key = keyOf(conferenceId, { resource, id: object.id })
      // The newest is the last one.
      times.delete(key)
      times.set(key, { fetchedAt, references: referencesOf(resource, object) })
      const [oldest] = times.keys()
      if (times.size > MAX_REMEMBERED && oldest !== undefined) times.delete(oldest)
    },
    /** Null if this process did not store the object with everything it refers to. */
    fetchTime(conferenceId: string, object: Reference): FetchTime | null {
      const found = times.get(keyOf(conferenceId, object))
      const isComplete = found?.references.every((one) => times.has(keyOf(conferenceId, one)))
      return found !== undefined && isComplete === true ? found.fetchedAt : null
    },
  }
}

/** The fetch times of the objects that are in the mirror with everything they refer to. */
async function fetchTimesOfComplete(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<Map<string, FetchTime>> {
  const stored = await findStoredObjects(db, conferenceId, objects)
  const targets = ({ reference, object }: StoredObject) => referencesOf(reference.resource, object)
  const unmirrored = await findUnmirrored(db, conferenceId, stored.flatMap(targets))
  const missing = new Set(unmirrored.map(referenceKey))
  const complete = stored.filter(
    (one) => !targets(one).some((target) => missing.has(referenceKey(target))),
  )
  return new Map(complete.map(({ reference, fetchedAt }) => [referenceKey(reference), fetchedAt]))
}

function groupByResource(objects: readonly StripeObject[]): Map<StripeResource, StripeObject[]> {
  const groups = new Map<StripeResource, StripeObject[]>()
  for (const object of objects) {
    const resource = resourceOfObject(object.object ?? '')
    // Objects that Stripe truncates are left to the events, which fetch them completely.
    if (resource === undefined || resource.complete !== undefined) continue
    groups.set(resource, [...(groups.get(resource) ?? []), object])
  }
  return groups
}

/** The longest time that a caller waits. A statement usually takes a millisecond or two. */
const TIMEOUT_MS = 1_000

/** Runs optional work that must not fail or delay its caller. */
type BestEffortQueue = {
  /**
   * Resolves with the result of `work`. Resolves with undefined, and logs a warning, when the work
   * fails, does not end in time, or is skipped. Never rejects.
   */
  run<T>(what: string, work: () => Promise<T>): Promise<T | undefined>
}

/**
 * Runs one task at a time, so a locked table blocks one connection of the pool and not all of them.
 * While a task is overdue, new tasks are skipped.
 */
export function createBestEffortQueue(
  logger: Pick<Logger, 'warn'>,
  timeoutMs: number = TIMEOUT_MS,
): BestEffortQueue {
  let tail: Promise<unknown> = Promise.resolve()
  let startedAt: number | null = null

  const isOverdue = () => startedAt !== null && performance.now() - startedAt > timeoutMs

  function skip(what: string, error: string): undefined {
    logger.warn({ what, error }, 'best-effort work skipped')
  }

  return {
    async run(what, work) {
      if (isOverdue()) return skip(what, 'an earlier task is overdue')
      let isSkipped = false
      const turn = tail.then(async () => {
        if (isSkipped) return undefined
        startedAt = performance.now()
        try {
          return await work()
        } catch (error) {
          return skip(what, errorText(error))
        } finally {
          startedAt = null
        }
      })
      tail = turn
      let timer: NodeJS.Timeout | undefined
      const timeout = new Promise<undefined>((resolve) => {
        timer = setTimeout(() => {
          isSkipped = true
          resolve(skip(what, `not done after ${timeoutMs} ms`))
        }, timeoutMs)
      })
      return Promise.race([turn, timeout]).finally(() => clearTimeout(timer))
    },
  }
}
