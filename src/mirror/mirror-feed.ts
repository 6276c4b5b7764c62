import type { Db } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { errorText } from '../stripe/stripe-errors.ts'
import type { StripeObject } from '../stripe/stripe-objects.ts'
import type { FetchRecording } from '../stripe/stripe-payment-gateway.ts'
import { databaseNow, type FetchTime, trackDatabaseClock } from './fetch-time.ts'
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
  /** Starts to record the fetches of one task. */
  begin(conferenceId: string): Promise<FetchRecording>
  /**
   * When each object in the mirror was fetched, by `referenceKey`. Omits objects whose time cannot be
   * read, and objects that refer to an object which is not in the mirror.
   */
  fetchTimes(
    conferenceId: string,
    objects: readonly Reference[],
  ): Promise<ReadonlyMap<string, FetchTime>>
}

/** Records nothing. Used when the database clock cannot be read. */
const NO_RECORDING: FetchRecording = { now: () => 0, record: () => {}, settled: async () => {} }

export function createMirrorFeed(deps: {
  db: Db
  clients: Pick<StripeClients, 'background'>
  logger: Logger
}): MirrorFeed {
  const { db, logger } = deps
  const queue = createBestEffortQueue(logger)

  async function store(
    conferenceId: string,
    objects: readonly StripeObject[],
    fetchedAt: FetchTime,
  ): Promise<void> {
    const context = { ...createSyncContext(deps, conferenceId), ownsAll: true }
    for (const [resource, ofResource] of groupByResource(objects)) {
      await resource.createAction(context).syncBatch(ofResource, fetchedAt)
    }
  }

  return {
    async begin(conferenceId) {
      const now = await queue.run('mirror: read the database clock', () => databaseNow(db))
      if (now === undefined) return NO_RECORDING
      const clock = trackDatabaseClock(now)
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
      const times = await queue.run('mirror: read fetch times', () =>
        fetchTimesOfComplete(db, conferenceId, objects),
      )
      return times ?? new Map()
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
