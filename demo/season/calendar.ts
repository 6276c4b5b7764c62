import { inParallel } from '../../src/shared/in-parallel.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

/** A stretch of time as it was played, and the stretch of the season that it stands for. */
export type PlayedDay = { began: Date; from: Date; to: Date }

/** Several at a time keep the service busy while each waits for Stripe's events. */
const CONCURRENCY = 5

export type Calendar = {
  /** Monday to Friday, by the number of the day; the last one is today. */
  isWorkday(day: number): boolean
  /**
   * Plays all days, one after the other.
   *
   * @param courses by the number of the day on which each begins. What would happen after today does not happen.
   * @param onDay called after each day with how many courses have begun.
   */
  play(
    courses: readonly { day: number; course: AsyncGenerator<number, void, void> }[],
    onDay: (begun: number) => void,
  ): Promise<PlayedDay[]>
}

/** @param days their number, with today. */
export function createCalendar(days: number, now: Date): Calendar {
  const midnight = Math.floor(now.getTime() / DAY_MS) * DAY_MS
  const startOf = (day: number) => midnight - (days - 1 - day) * DAY_MS

  /** The office hours of a day; of today the last five hours. */
  function hoursOf(day: number): { from: Date; to: Date } {
    if (day === days - 1) return { from: new Date(now.getTime() - 5 * HOUR_MS), to: now }
    const start = startOf(day)
    return { from: new Date(start + 8 * HOUR_MS), to: new Date(start + 18 * HOUR_MS) }
  }

  return {
    isWorkday: (day) => ![0, 6].includes(new Date(startOf(day)).getUTCDay()),
    async play(courses, onDay) {
      const agenda = Array.from({ length: days }, (_none, day) =>
        courses.filter((each) => each.day === day).map(({ course }) => course),
      )
      const played: PlayedDay[] = []
      let begun = 0
      for (const [day, due] of agenda.entries()) {
        played.push({ began: new Date(), ...hoursOf(day) })
        // A course that goes on the same day is added to the list while it is worked on.
        while (due.length > 0) {
          await inParallel(inTurns(due.splice(0)), CONCURRENCY, async (course) => {
            const { done, value } = await course.next()
            if (done !== true) agenda[day + value]?.push(course)
          })
        }
        begun += courses.filter((each) => each.day === day).length
        onDay(begun)
      }
      return played
    },
  }
}

/** Mixes those that begin on the day with those that go on, so that both spread over its hours. */
function inTurns<T>(items: readonly T[]): T[] {
  const half = Math.ceil(items.length / 2)
  return items
    .slice(0, half)
    .flatMap((item, place) => [...items.slice(half + place, half + place + 1), item])
}
