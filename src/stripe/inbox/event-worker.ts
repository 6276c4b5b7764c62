import { type Repeated, repeat } from '../../jobs/repeat.ts'
import { type ClaimedEvent, claimEvents, groupByPurchase } from './claim-events.ts'
import { releaseClaimed, renewClaimed } from './claimed-rows.ts'
import { errorText } from './error-text.ts'
import { type ProcessDeps, processEvents } from './process-events.ts'
import { listenForEvents, type WakeListener } from './wake-listener.ts'

/** How often the table is asked when nobody wakes us. Milliseconds. */
const POLL_MS = 1_000
/** Events of one claim: enough that a purchase's burst is read once, few enough to share out. */
const CLAIM_LIMIT = 50
const RENEWALS_PER_LEASE = 3
/** One event is held for ten leases at most: work that hangs must not keep it for ever. */
const MOST_RENEWALS = 10 * RENEWALS_PER_LEASE

export type EventWorkerDeps = ProcessDeps & {
  connectionString: string
  leaseSeconds: number
  /** Purchases that are worked on at the same time. */
  concurrency?: number
}

export type EventWorker = {
  start(): void
  /** Takes nothing new, finishes what it has begun and gives the rest back. */
  stop(): Promise<void>
}

type Work = { events: ClaimedEvent[]; renewals: number }

/**
 * Works on due events until stopped, whatever happens to the database meanwhile. Any number of
 * workers, here and in other processes, share the table.
 */
export function createEventWorker(deps: EventWorkerDeps): EventWorker {
  const { db, logger, leaseSeconds, concurrency = 4 } = deps
  const waiting: Work[] = []
  const running = new Map<Work, Promise<void>>()
  let stopped = false
  let parts: { poll: Repeated; renewal: Repeated; listener: WakeListener } | null = null

  async function claimMore(): Promise<void> {
    while (!stopped && waiting.length === 0 && running.size < concurrency) {
      const events = await claimEvents(db, { limit: CLAIM_LIMIT, leaseSeconds })
      if (events.length === 0) return
      waiting.push(...groupByPurchase(events).map((group) => ({ events: group, renewals: 0 })))
      beginNext()
    }
  }

  function beginNext(): void {
    while (!stopped && running.size < concurrency) {
      const work = waiting.shift()
      if (work === undefined) return
      running.set(work, finish(work))
    }
  }

  async function finish(work: Work): Promise<void> {
    try {
      await processEvents(deps, work.events)
    } catch (error) {
      // Not even the failure could be written down: the lease ends by itself and the try counts.
      const events = work.events.map(({ id }) => id)
      logger.warn({ events, error: errorText(error) }, 'events were left to their lease')
    }
    running.delete(work)
    beginNext()
    if (waiting.length === 0) parts?.poll.soon()
  }

  async function renewLeases(): Promise<void> {
    const held = [...waiting, ...running.keys()].filter(({ renewals }) => renewals < MOST_RENEWALS)
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
      const poll = repeat({ what: 'event worker', everyMs: POLL_MS, logger, work: claimMore })
      const renewal = repeat({
        what: 'leases of events',
        everyMs: (leaseSeconds * 1000) / RENEWALS_PER_LEASE,
        logger,
        work: renewLeases,
      })
      const listener = listenForEvents(deps.connectionString, logger, () => poll.soon())
      parts = { poll, renewal, listener }
    },

    async stop() {
      stopped = true
      await parts?.listener.stop()
      await parts?.poll.stop()
      const untouched = waiting.splice(0).flatMap(({ events }) => events)
      await releaseClaimed(db, untouched).catch((error: unknown) =>
        logger.debug({ error: errorText(error) }, 'claimed events wait for the end of their lease'),
      )
      await Promise.all(running.values())
      await parts?.renewal.stop()
    },
  }
}
