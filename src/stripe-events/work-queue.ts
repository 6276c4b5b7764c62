import type { ClaimedEvent } from './claim-events.ts'

/** Claimed events that are processed together. */
export type Work = { key: string; conferenceId: string; events: ClaimedEvent[]; renewals: number }

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
