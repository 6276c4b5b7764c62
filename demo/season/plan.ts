import { CATALOG, type Order, pick, pickByShare, randomFrom, SPONSORS } from './cast.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'

const QUANTITIES = [1, 2, 2, 3, 3, 4, 5, 5, 5, 8, 10, 10, 12, 15, 20, 25, 40] as const

/** An order, the number of its day, and how it goes on. */
export type PlannedPurchase = Order & { day: number; scenario: Scenario }

const SEED = 20_270_611

/**
 * The purchases of a season. The plan depends on nothing but the numbers: each run of the demo has the same
 * purchases. Every scenario occurs once before any occurs twice.
 *
 * @param isWorkday by the number of the day; few orders come on other days, unless it is one of the last two,
 * which fill the first screen.
 */
export function planSeason(
  count: number,
  days: number,
  isWorkday: (day: number) => boolean,
): PlannedPurchase[] {
  const random = randomFrom(SEED)
  return Array.from({ length: count }, (_none, index) => {
    const scenario = SCENARIOS[index] ?? pickByShare(random, SCENARIOS, ({ share }) => share)
    const sponsor = pickByShare(random, SPONSORS, ({ level }) => (level === null ? 1 : 3))
    const item = pickByShare(random, CATALOG, ({ share }) => share).name
    const [min, max] = scenario.daysAgo
    const ago = { min: Math.min(min, days - 1), max: Math.min(max, days - 1) }
    // Sales grow from week to week.
    let day = days - 1 - ago.min - Math.floor(random() ** 1.5 * (ago.max - ago.min + 1))
    const earlier = day - 1 - Math.floor(random() * 5)
    if (!isWorkday(day) && day < days - 2 && random() < 0.8 && earlier >= days - 1 - ago.max)
      day = earlier
    const quantity = pick(random, QUANTITIES)
    return {
      index,
      day,
      scenario,
      sponsor: index === 0 ? (SPONSORS[0] ?? sponsor) : sponsor,
      item,
      quantity: scenario.isFree === true ? Math.min(quantity, 5) : quantity,
      random: randomFrom(SEED + 1 + index),
    }
  })
}
