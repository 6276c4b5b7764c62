import type { Db } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import type { StripeObject } from '../stripe/stripe-object.ts'
import type { FetchRecording } from '../stripe/stripe-payment-gateway.ts'
import { createBestEffortQueue } from './best-effort-queue.ts'
import { databaseNow, type FetchTime, trackDatabaseClock } from './fetch-time.ts'
import {
  findStoredObjects,
  findUnmirrored,
  referenceKey,
  referencesOf,
  type StoredObject,
} from './mirror-object.ts'
import { resourceOfObject } from './resource-registry.ts'
import type { Reference, StripeResource } from './stripe-resource.ts'

/**
 * Takes what is read from Stripe for other purposes into the mirror. Nothing here rejects or takes
 * longer than a second: a mirror that is broken must not hold up what the reading was for.
 */
export type MirrorFeed = {
  /** Begins a reading. */
  begin(conferenceId: string): Promise<FetchRecording>
  /**
   * When the mirror last read each object, by `referenceKey`. Left out are those of which it cannot
   * be told, and those that the mirror has without what they hang on.
   */
  readingTimes(
    conferenceId: string,
    objects: readonly Reference[],
  ): Promise<ReadonlyMap<string, FetchTime>>
}

/** For a reading whose time is unknown: nothing can be stored then. */
const NO_RECORDER: FetchRecording = { now: () => 0, record: () => {}, settled: async () => {} }

export function createMirrorFeed(deps: {
  db: Db
  clients: Pick<StripeClients, 'background'>
  logger: Logger
}): MirrorFeed {
  const { db, clients, logger } = deps
  const sideline = createBestEffortQueue(logger)

  async function store(
    conferenceId: string,
    objects: readonly StripeObject[],
    readAt: FetchTime,
  ): Promise<void> {
    const connect = () => clients.background(conferenceId)
    const context = { db, conferenceId, connect, logger }
    for (const [resource, ofResource] of groupByResource(objects)) {
      await resource.createAction(context).syncBatch(ofResource, readAt)
    }
  }

  return {
    async begin(conferenceId) {
      const begun = await sideline.run('mirror: time of a reading', () => databaseNow(db))
      if (begun === undefined) return NO_RECORDER
      const clock = trackDatabaseClock(begun)
      const writes: Promise<unknown>[] = []
      return {
        now: () => clock.now(),
        record(objects, readAt) {
          const write = () => store(conferenceId, objects, readAt)
          writes.push(sideline.run('mirror: objects that were read', write))
        },
        async settled() {
          await Promise.all(writes)
        },
      }
    },

    async readingTimes(conferenceId, objects) {
      const known = await sideline.run('mirror: times of its readings', () =>
        fetchTimesOfComplete(db, conferenceId, objects),
      )
      return known ?? new Map()
    },
  }
}

async function fetchTimesOfComplete(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<Map<string, FetchTime>> {
  const stored = await findStoredObjects(db, conferenceId, objects)
  const parents = ({ reference, object }: StoredObject) => referencesOf(reference.resource, object)
  const unread = await findUnmirrored(db, conferenceId, stored.flatMap(parents))
  const missing = new Set(unread.map(referenceKey))
  const whole = stored.filter(
    (one) => !parents(one).some((each) => missing.has(referenceKey(each))),
  )
  return new Map(whole.map(({ reference, readAt }) => [referenceKey(reference), readAt]))
}

function groupByResource(objects: readonly StripeObject[]): Map<StripeResource, StripeObject[]> {
  const found = new Map<StripeResource, StripeObject[]>()
  for (const object of objects) {
    const resource = resourceOfObject(object.object ?? '')
    // One of which Stripe shows only a part here is left to its own reading.
    if (resource === undefined || resource.complete !== undefined) continue
    found.set(resource, [...(found.get(resource) ?? []), object])
  }
  return found
}
