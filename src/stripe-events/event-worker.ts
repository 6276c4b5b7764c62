import type { WakeUps } from '../db/wake-ups.ts'
import { type Repeated, repeat } from '../jobs/repeat.ts'
import { findAttemptTrace } from '../payments/attempt-trace.ts'
import {
  attributesOf,
  runTraced,
  type Span,
  type Subject,
  type Tracer,
} from '../shared/work-context.ts'
import { errorText } from '../stripe/stripe-errors.ts'
import { type ClaimedEvent, claimEvents, releaseClaimed, renewClaimed } from './claim-events.ts'
import type { Lane } from './classify-event.ts'
import { WAKE_CHANNEL } from './event-inbox.ts'
import { groupByObject, groupByPurchase, objectKey } from './group-events.ts'
import { type ProcessDeps, processEvents } from './process-events.ts'
import { processMirrorEvents } from './process-mirror-events.ts'

/** The table is polled at this interval, because a notification may be lost. */
const POLL_MS = 1_000
/** Events of one claim: enough to fetch a purchase once per burst, few enough to share the work. */
const CLAIM_LIMIT = 50
const RENEWALS_PER_LEASE = 3
/** An event is held for ten leases at most: work that hangs must release it. */
const MAX_RENEWALS = 10 * RENEWALS_PER_LEASE

export type EventWorkerDeps = ProcessDeps & {
  /** Absent: the worker only polls. */
  wakeUps?: WakeUps
  leaseSeconds: number
  /** Default: `purchase`. */
  lane?: Lane
  /** How many purchases, or mirror objects, are processed at the same time. Default: 4. */
  concurrency?: number
  /** Absent: nothing is traced. */
  tracer?: Tracer | null
}

export type EventWorker = {
  start(): void
  /** Claims no more events, finishes the running ones and releases the waiting ones. */
  stop(): Promise<void>
}

type LaneWork = {
  group: (events: readonly ClaimedEvent[]) => ClaimedEvent[][]
  process: (deps: ProcessDeps, events: ClaimedEvent[], stopping: AbortSignal) => Promise<void>
  /** Events with the same key never run in parallel; waiting ones are processed together. */
  keyOf: (event: ClaimedEvent) => string
  /** How many groups of one conference are processed at the same time. */
  perConference: number
}

const LANES: { readonly [Name in Lane]: LaneWork } = {
  purchase: {
    group: groupByPurchase,
    process: processEvents,
    // One key per event: a fetch that hangs must not delay the next one of its purchase. Reconcile
    // tickets keep their order.
    keyOf: ({ conferenceId, id }) => `${conferenceId} ${id}`,
    perConference: Number.POSITIVE_INFINITY,
  },
  mirror: {
    group: groupByObject,
    process: processMirrorEvents,
    // A burst of events of one object causes two fetches at most.
    keyOf: objectKey,
    // An account that waits for its rate limit leaves slots for other accounts.
    perConference: 3,
  },
}

/**
 * Claims and processes due events of a lane until it is stopped, also across database failures. Any
 * number of workers, in this and other processes, share the table.
 */
export function createEventWorker(deps: EventWorkerDeps): EventWorker {
  const { db, logger, leaseSeconds, concurrency = 4, lane = 'purchase' } = deps
  const { group, process, keyOf, perConference } = LANES[lane]
  const queue = createWorkQueue({ concurrency, perConference, keyOf })
  const running = new Map<Work, Promise<void>>()
  const stopping = new AbortController()
  let parts: { poll: Repeated; renewal: Repeated } | null = null
  /** Whether events may be due that no claim looked for. */
  let mayBeDue = true

  async function claimMore(): Promise<void> {
    mayBeDue = true
    while (mayBeDue && !stopping.signal.aborted && queue.wantsMore()) {
      const except = queue.busyConferences()
      mayBeDue = except.length > 0
      const events = await claimEvents(db, { lane, limit: CLAIM_LIMIT, leaseSeconds, except })
      if (events.length === 0) return
      if (events.length === CLAIM_LIMIT) mayBeDue = true
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
    const { events } = work
    const subject = subjectOf(events)
    const span = await beginSpan(deps, events, subject)
    await runTraced({ subject, span }, async () => {
      try {
        await process(deps, events, stopping.signal)
      } catch (error) {
        // The events stay claimed until the lease ends, and the attempt counts.
        logger.warn(
          { events: events.map(({ id }) => id), error: errorText(error) },
          'could not record the failure; events retry when the lease expires',
        )
      }
    })
    running.delete(work)
    queue.end(work)
    beginNext()
    if (mayBeDue && queue.wantsMore()) parts?.poll.soon()
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
        what: `lease renewal of events (${lane})`,
        everyMs: (leaseSeconds * 1000) / RENEWALS_PER_LEASE,
        logger,
        work: renewLeases,
      })
      deps.wakeUps?.on(WAKE_CHANNEL, (lanes) => {
        if (lanes !== null && lanes !== '' && !lanes.split(',').includes(lane)) return
        mayBeDue = true
        if (!stopping.signal.aborted) poll.soon()
      })
      parts = { poll, renewal }
    },

    async stop() {
      stopping.abort()
      await parts?.poll.stop()
      const untouched = queue.takeWaiting().flatMap(({ events }) => events)
      await releaseClaimed(db, untouched).catch((error: unknown) =>
        logger.debug(
          { error: errorText(error) },
          'could not release claimed events; they are due again when the lease expires',
        ),
      )
      await Promise.all(running.values())
      await parts?.renewal.stop()
    },
  }
}

function subjectOf(events: readonly ClaimedEvent[]): Subject {
  const [first] = events
  if (first === undefined) return {}
  const { conferenceId: conference, id: event, purchaseId } = first
  return { conference, event, ...(purchaseId === null ? {} : { purchase: purchaseId }) }
}

/**
 * Continues the trace of the checkout while its payment is awaited, so that one trace leads from the checkout to the
 * codes. A later event, such as that of a refund, has a trace of its own with a link to the checkout.
 */
async function beginSpan(
  { tracer = null, db }: EventWorkerDeps,
  events: readonly ClaimedEvent[],
  subject: Subject,
): Promise<Span | null> {
  const [first] = events
  if (tracer === null || first === undefined) return null
  const checkout = await findAttemptTrace(db, first).catch(() => null)
  const span = tracer.begin({
    name: `stripe event ${first.type}`,
    kind: 'consumer',
    attributes: {
      ...attributesOf(subject),
      'sponsor_vouchers.stripe_event_types': [...new Set(events.map(({ type }) => type))],
      'sponsor_vouchers.attempt': first.attempts,
    },
    parent: checkout?.isAwaited === true ? checkout.traceparent : null,
  })
  if (checkout?.isAwaited === false) span?.link(checkout.traceparent)
  return span
}

/** Claimed events that are processed together. */
type Work = { key: string; conferenceId: string; events: ClaimedEvent[]; renewals: number }

/** A worker that holds this many waiting events claims no more: other workers can take them. */
const MAX_HELD_EVENTS = 200

/** The events that a worker has claimed: some wait, some are being processed. */
export type WorkQueue = {
  /** Adds a group of events. A waiting group with the same key takes them in. */
  add(events: ClaimedEvent[]): void
  /** Starts the first group that may run now, if any. */
  begin(): Work | undefined
  end(work: Work): void
  /** True when a slot is free and no waiting group may run in it. */
  wantsMore(): boolean
  /** Conferences that use all of their slots. */
  busyConferences(): string[]
  held(): Work[]
  /** Removes and returns the waiting groups. */
  takeWaiting(): Work[]
}

export function createWorkQueue(options: {
  concurrency: number
  perConference: number
  keyOf: (event: ClaimedEvent) => string
}): WorkQueue {
  const { concurrency, perConference, keyOf } = options
  let waiting: Work[] = []
  const running = new Set<Work>()

  const runningOf = (conferenceId: string) =>
    [...running].filter((work) => work.conferenceId === conferenceId).length
  const isRunning = (key: string) => [...running].some((work) => work.key === key)
  const mayBegin = ({ key, conferenceId }: Work) =>
    !isRunning(key) && runningOf(conferenceId) < perConference
  const waitingEvents = () => waiting.reduce((sum, { events }) => sum + events.length, 0)

  return {
    add(events) {
      const [first] = events
      if (first === undefined) return
      const key = keyOf(first)
      const sameKey = waiting.find((work) => work.key === key)
      if (sameKey === undefined) {
        waiting.push({ key, conferenceId: first.conferenceId, events, renewals: 0 })
      } else sameKey.events.push(...events)
    },
    begin() {
      if (running.size >= concurrency) return undefined
      const next = waiting.find(mayBegin)
      if (next === undefined) return undefined
      waiting = waiting.filter((work) => work !== next)
      running.add(next)
      return next
    },
    end(work) {
      running.delete(work)
    },
    wantsMore: () =>
      running.size < concurrency && waitingEvents() < MAX_HELD_EVENTS && !waiting.some(mayBegin),
    busyConferences() {
      const conferences = new Set([...running].map(({ conferenceId }) => conferenceId))
      return [...conferences].filter((id) => runningOf(id) >= perConference)
    },
    held: () => [...waiting, ...running],
    takeWaiting() {
      const all = waiting
      waiting = []
      return all
    },
  }
}
