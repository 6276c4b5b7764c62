import type { ClaimedEvent } from './claim-events.ts'

/** Claimed events that are worked on together. */
export type Work = { key: string; conferenceId: string; events: ClaimedEvent[]; renewals: number }

/** Held events beyond which a worker claims no more, so that others can have them. */
const MAX_HELD_EVENTS = 200

/** What a worker has claimed: what waits, and what runs. */
export type WorkQueue = {
  /** Adds a group; one that waits for the same takes it in. */
  add(events: ClaimedEvent[]): void
  /** Takes the first that may run now, if any. */
  begin(): Work | undefined
  end(work: Work): void
  /** True when there is room and nothing here that could fill it. */
  wantsMore(): boolean
  /** Conferences of which no more may run now. */
  busyConferences(): string[]
  held(): Work[]
  /** Empties what waits. */
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
      const known = waiting.find((work) => work.key === key)
      if (known === undefined) {
        waiting.push({ key, conferenceId: first.conferenceId, events, renewals: 0 })
      } else known.events.push(...events)
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
