import type { Knex } from 'knex'
import type { Db, Tx } from '../db/connect.ts'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import { withSystem } from '../db/tenant-scope.ts'
import type { Logger } from '../shared/logger.ts'
import type { IncomingEvent } from './classify-event.ts'
import { wakeWorkers } from './event-store.ts'

/** Maximum number of events in one insert. Larger groups bring no further gain. */
const GROUP_EVENTS = 100
/** Maximum size of all bodies in one insert, in bytes. */
const GROUP_BYTES = 4 * 1024 * 1024

export type StoreResult = 'new' | 'duplicate'

export type EventInbox = {
  /** Resolves after the commit. @throws the database's error; the event is not stored then. */
  store(event: IncomingEvent): Promise<StoreResult>
}

type PendingInsert = {
  event: IncomingEvent
  resolve: (stored: StoreResult) => void
  reject: (error: unknown) => void
}

/**
 * Stores events durably. Events that arrive during an insert share the next insert. On two cores this
 * stores several times as many events per second as one insert per event (bench/inbox.ts).
 */
export function createEventInbox(deps: { db: Db; logger: Pick<Logger, 'warn'> }): EventInbox {
  const queue: PendingInsert[] = []
  let running = false

  async function run(): Promise<void> {
    running = true
    // Events of the same turn of the event loop join the first group.
    await new Promise((resolve) => setImmediate(resolve))
    while (queue.length > 0) await storeGroup(takeGroup(queue))
    running = false
  }

  async function storeGroup(group: PendingInsert[]): Promise<void> {
    try {
      const added = await insert(group)
      // Two deliveries of one event may be in the same group: only the first one is new.
      for (const { event, resolve } of group)
        resolve(added.delete(eventKey(event)) ? 'new' : 'duplicate')
    } catch (error) {
      if (group.length === 1 || isDatabaseUnavailable(error)) {
        for (const { reject } of group) reject(error)
        return
      }
      deps.logger.warn(
        { events: group.length },
        'could not store a group of events; storing them one by one',
      )
      for (const waiting of group) await storeGroup([waiting])
    }
  }

  function insert(group: PendingInsert[]): Promise<Set<string>> {
    const distinct = new Map(group.map(({ event }) => [eventKey(event), event]))
    return withSystem(deps.db, 'store-events', (trx) => insertEvents(trx, [...distinct.values()]))
  }

  return {
    store: (event) =>
      new Promise((resolve, reject) => {
        queue.push({ event, resolve, reject })
        if (!running) void run()
      }),
  }
}

function takeGroup(queue: PendingInsert[]): PendingInsert[] {
  let bytes = 0
  const size = queue.findIndex(({ event }, index) => {
    bytes += event.body.length
    return index > 0 && (index >= GROUP_EVENTS || bytes > GROUP_BYTES)
  })
  return queue.splice(0, size === -1 ? queue.length : size)
}

const INSERT = `
  with given as (
    select * from unnest(
      ?::text[], ?::text[], ?::text[], ?::boolean[], ?::text[], ?::bytea[],
      ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[],
      ?::timestamptz[]
    ) as event (conference_id, id, type, livemode, api_version, body,
      object_id, payment_intent_id, purchase_id, lane, mirror_resource, mirror_id, source, status,
      created_at_stripe)
  ), inserted as (
    insert into stripe_events (conference_id, id, type, livemode, api_version, body, object_id,
      payment_intent_id, purchase_id, lane, mirror_resource, mirror_id, source, status,
      created_at_stripe, finished_at)
    select given.*, case when status = 'ignored' then now() end from given
    -- The order prevents a deadlock between two processes that store the same events.
    order by conference_id, id
    on conflict do nothing
    returning conference_id, id, status
  )
  select conference_id, id from inserted`

/** Identifies an event. The id is not enough: each conference keeps its own copy of an event. */
function eventKey(event: { conferenceId: string; id: string }): string {
  return `${event.conferenceId} ${event.id}`
}

/**
 * Inserts events with one statement and wakes the workers once. Events that are already stored stay
 * unchanged.
 *
 * @returns the keys of the new events.
 */
export async function insertEvents(trx: Tx, events: IncomingEvent[]): Promise<Set<string>> {
  const column = (name: keyof IncomingEvent) =>
    // pg accepts nulls in an array, but knex's type for bindings does not allow them.
    events.map((event) => event[name]) as Knex.Value
  const { rows } = await trx.raw<{ rows: { conference_id: string; id: string }[] }>(INSERT, [
    column('conferenceId'),
    column('id'),
    column('type'),
    column('livemode'),
    column('apiVersion'),
    column('body'),
    column('objectId'),
    column('paymentIntentId'),
    column('purchaseId'),
    column('lane'),
    column('mirrorResource'),
    column('mirrorId'),
    column('source'),
    column('status'),
    column('createdAtStripe'),
  ])
  const added = new Set(
    rows.map(({ conference_id: conferenceId, id }) => eventKey({ conferenceId, id })),
  )
  const isWork = events.some((event) => event.status === 'pending' && added.has(eventKey(event)))
  if (isWork) await wakeWorkers(trx)
  return added
}
