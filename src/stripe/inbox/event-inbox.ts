import type { Db } from '../../db/connect.ts'
import { isDatabaseUnavailable } from '../../db/pg-errors.ts'
import { withSystem } from '../../db/tenant-scope.ts'
import type { Logger } from '../../shared/logger.ts'
import type { InboxEvent } from './inbox-event.ts'
import { eventKey, insertEvents } from './insert-events.ts'

/** Events in one insert. Beyond a hundred the statement costs as much as it saves. */
const GROUP_EVENTS = 100
/** Bytes of bodies in one insert, so that a group of the largest ones stays small. */
const GROUP_BYTES = 4 * 1024 * 1024

export type Stored = 'new' | 'duplicate'

export type EventInbox = {
  /** Resolves after the commit. @throws whatever the database threw; the event is not stored then. */
  store(event: InboxEvent): Promise<Stored>
}

type Waiting = {
  event: InboxEvent
  resolve: (stored: Stored) => void
  reject: (error: unknown) => void
}

/**
 * Stores events durably. Those that arrive while an insert is under way share the next one: on two
 * cores that is several times the rate of one insert each (bench/inbox.ts).
 */
export function createEventInbox(deps: { db: Db; logger: Pick<Logger, 'warn'> }): EventInbox {
  const queue: Waiting[] = []
  let running = false

  async function run(): Promise<void> {
    running = true
    // Lets everything that came in the same turn of the event loop join the first group.
    await new Promise((resolve) => setImmediate(resolve))
    while (queue.length > 0) await storeGroup(takeGroup(queue))
    running = false
  }

  async function storeGroup(group: Waiting[]): Promise<void> {
    try {
      const added = await insert(group)
      // Two deliveries of one event may share a group; only the first of them was new.
      for (const { event, resolve } of group)
        resolve(added.delete(eventKey(event)) ? 'new' : 'duplicate')
    } catch (error) {
      if (group.length === 1 || isDatabaseUnavailable(error)) {
        for (const { reject } of group) reject(error)
        return
      }
      deps.logger.warn({ events: group.length }, 'storing a group of events failed, one by one now')
      for (const waiting of group) await storeGroup([waiting])
    }
  }

  function insert(group: Waiting[]): Promise<Set<string>> {
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

function takeGroup(queue: Waiting[]): Waiting[] {
  let bytes = 0
  const size = queue.findIndex(({ event }, index) => {
    bytes += event.body.length
    return index > 0 && (index >= GROUP_EVENTS || bytes > GROUP_BYTES)
  })
  return queue.splice(0, size === -1 ? queue.length : size)
}
