import pg from 'pg'
import { type Repeated, repeat } from '../jobs/repeat.ts'
import type { Logger } from '../shared/logger.ts'
import { errorText } from '../stripe/error-text.ts'
import {
  type ClaimedEvent,
  claimEvents,
  groupByObject,
  groupByPurchase,
  objectKey,
  releaseClaimed,
  renewClaimed,
} from './claim-events.ts'
import type { Lane } from './classify-event.ts'
import { WAKE_CHANNEL } from './event-store.ts'
import { type ProcessDeps, processEvents } from './process-events.ts'
import { processMirrorEvents } from './process-mirror-events.ts'
import { createWorkQueue, type Work } from './work-queue.ts'

/** How often the table is asked when nobody wakes us. Milliseconds. */
const POLL_MS = 1_000
/** Events of one claim: enough that a purchase's burst is read once, few enough to share out. */
const CLAIM_LIMIT = 50
const RENEWALS_PER_LEASE = 3
/** One event is held for ten leases at most: work that hangs must not keep it for ever. */
const MAX_RENEWALS = 10 * RENEWALS_PER_LEASE

export type EventWorkerDeps = ProcessDeps & {
  connectionString: string
  leaseSeconds: number
  /** Default: purchases. */
  lane?: Lane
  /** Purchases, or objects of the mirror, that are worked on at the same time. */
  concurrency?: number
}

export type EventWorker = {
  start(): void
  /** Takes nothing new, finishes what it has begun and gives the rest back. */
  stop(): Promise<void>
}

type LaneWork = {
  group: (events: readonly ClaimedEvent[]) => ClaimedEvent[][]
  process: (deps: ProcessDeps, events: ClaimedEvent[], stopping: AbortSignal) => Promise<void>
  /** Those with the same key are worked on one after the other, as one when they wait. */
  keyOf: (event: ClaimedEvent) => string
  /** Groups of one conference that are worked on at the same time. */
  perConference: number
}

const LANES: { readonly [Name in Lane]: LaneWork } = {
  purchase: {
    group: groupByPurchase,
    process: processEvents,
    // A reading that hangs must not hold up the next one of its purchase: tickets sort them out.
    keyOf: ({ conferenceId, id }) => `${conferenceId} ${id}`,
    perConference: Number.POSITIVE_INFINITY,
  },
  mirror: {
    group: groupByObject,
    process: processMirrorEvents,
    // A burst of events of one object is read twice at most, and not once for each that comes.
    keyOf: objectKey,
    // One account that waits for its budget leaves room for another.
    perConference: 3,
  },
}

/**
 * Works on due events of a lane until stopped, whatever happens to the database meanwhile. Any
 * number of workers, here and in other processes, share the table.
 */
export function createEventWorker(deps: EventWorkerDeps): EventWorker {
  const { db, logger, leaseSeconds, concurrency = 4, lane = 'purchase' } = deps
  const { group, process, keyOf, perConference } = LANES[lane]
  const queue = createWorkQueue({ concurrency, perConference, keyOf })
  const running = new Map<Work, Promise<void>>()
  const stopping = new AbortController()
  let parts: { poll: Repeated; renewal: Repeated; listener: WakeListener } | null = null

  async function claimMore(): Promise<void> {
    while (!stopping.signal.aborted && queue.wantsMore()) {
      const except = queue.busyConferences()
      const events = await claimEvents(db, { lane, limit: CLAIM_LIMIT, leaseSeconds, except })
      if (events.length === 0) return
      for (const each of group(events)) queue.add(each)
      beginNext()
    }
  }

  function beginNext(): void {
    while (!stopping.signal.aborted) {
      const work = queue.begin()
      if (work === undefined) return
      running.set(work, finish(work))
    }
  }

  async function finish(work: Work): Promise<void> {
    try {
      await process(deps, work.events, stopping.signal)
    } catch (error) {
      // Not even the failure could be written down: the lease ends by itself and the try counts.
      const events = work.events.map(({ id }) => id)
      logger.warn({ events, error: errorText(error) }, 'events were left to their lease')
    }
    running.delete(work)
    queue.end(work)
    beginNext()
    if (queue.wantsMore()) parts?.poll.soon()
  }

  async function renewLeases(): Promise<void> {
    const held = queue.held().filter(({ renewals }) => renewals < MAX_RENEWALS)
    for (const work of held) work.renewals += 1
    await renewClaimed(
      db,
      held.flatMap(({ events }) => events),
      leaseSeconds,
    )
  }

  return {
    start() {
      if (parts !== null) return
      const poll = repeat({
        what: `event worker (${lane})`,
        everyMs: POLL_MS,
        logger,
        work: claimMore,
      })
      const renewal = repeat({
        what: `leases of events (${lane})`,
        everyMs: (leaseSeconds * 1000) / RENEWALS_PER_LEASE,
        logger,
        work: renewLeases,
      })
      const listener = listenForEvents(deps.connectionString, logger, () => poll.soon())
      parts = { poll, renewal, listener }
    },

    async stop() {
      stopping.abort()
      await parts?.listener.stop()
      await parts?.poll.stop()
      const untouched = queue.takeWaiting().flatMap(({ events }) => events)
      await releaseClaimed(db, untouched).catch((error: unknown) =>
        logger.debug({ error: errorText(error) }, 'claimed events wait for the end of their lease'),
      )
      await Promise.all(running.values())
      await parts?.renewal.stop()
    },
  }
}

const RECONNECT_MS = 1_000

type WakeListener = { stop(): Promise<void> }

/**
 * Calls `onWake` when an event was stored by any process. On a connection of its own, since a pool
 * hands them around. Only a hint: whatever is lost while it reconnects is found by polling.
 */
function listenForEvents(
  connectionString: string,
  logger: Logger,
  onWake: () => void,
): WakeListener {
  let client: pg.Client | null = null
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  async function connect(): Promise<void> {
    const next = new pg.Client({
      connectionString,
      application_name: 'sponsor-vouchers events',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    })
    // One connection fails once: `error` and a failed query may both tell of it.
    let lost = false
    const lose = (err: unknown) => {
      if (lost) return
      lost = true
      if (client === next) client = null
      next.end().catch(() => {})
      if (stopped) return
      logger.debug({ err }, 'not listening for events, polling only')
      timer = setTimeout(() => void connect(), RECONNECT_MS)
    }
    next.on('error', lose)
    next.on('end', () => lose(new Error('The server closed the connection')))
    next.on('notification', onWake)
    client = next
    try {
      await next.connect()
      await next.query(`listen ${WAKE_CHANNEL}`)
      onWake() // whatever was stored before we listened
    } catch (error) {
      lose(error)
    }
  }

  const first = connect()
  return {
    async stop() {
      stopped = true
      clearTimeout(timer)
      await first
      await client?.end().catch(() => {})
    },
  }
}
