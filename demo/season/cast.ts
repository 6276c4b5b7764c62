/** A sponsor of the second conference. */
export type PlannedSponsor = { slug: string; name: string; level: string | null; buyer: string }

export const LEVELS = [
  { name: 'Platinum', slug: 'platinum', comp_ticket_count: 10 },
  { name: 'Gold', slug: 'gold', comp_ticket_count: 5 },
  { name: 'Silver', slug: 'silver', comp_ticket_count: 2 },
  { name: 'Community', slug: 'community', comp_ticket_count: 0 },
] as const

export const SPONSORS: readonly PlannedSponsor[] = [
  { slug: 'acme', name: 'Acme Robotics', level: 'platinum', buyer: 'Ada Vargas' },
  { slug: 'globex', name: 'Globex', level: 'platinum', buyer: 'Hank Scorpio' },
  { slug: 'initech', name: 'Initech', level: 'gold', buyer: 'Milton Waddams' },
  { slug: 'hooli', name: 'Hooli', level: 'gold', buyer: 'Gavin Belson' },
  { slug: 'stark', name: 'Stark Industries', level: 'gold', buyer: 'Pepper Potts' },
  { slug: 'wayne', name: 'Wayne Enterprises', level: 'gold', buyer: 'Lucius Fox' },
  { slug: 'umbrella', name: 'Umbrella', level: 'silver', buyer: 'Alice Marcus' },
  { slug: 'tyrell', name: 'Tyrell Corporation', level: 'silver', buyer: 'Rachael Rosen' },
  { slug: 'cyberdyne', name: 'Cyberdyne Systems', level: 'silver', buyer: 'Miles Dyson' },
  { slug: 'soylent', name: 'Soylent Foods', level: 'silver', buyer: 'Sol Roth' },
  { slug: 'wonka', name: 'Wonka Sweets', level: 'silver', buyer: 'Charlie Bucket' },
  { slug: 'vandelay', name: 'Vandelay Imports', level: 'community', buyer: 'Art Vandelay' },
  { slug: 'pied-piper', name: 'Pied Piper', level: 'community', buyer: 'Richard Hendricks' },
  { slug: 'dunder', name: 'Dunder Mifflin', level: null, buyer: 'Pam Beesly' },
]

/** What the conference sells. Prices are minor units. */
export const CATALOG = [
  { kind: 'ticket_type', name: 'Conference pass', price: 24_900, share: 45 },
  { kind: 'ticket_type', name: 'Corporate pass', price: 39_900, share: 22 },
  { kind: 'ticket_type', name: 'Workshop day', price: 18_900, share: 12 },
  { kind: 'ticket_type', name: 'Student pass', price: 7_900, share: 9 },
  { kind: 'add_on', name: 'Gala dinner', price: 8_500, share: 8 },
  { kind: 'add_on', name: 'Recordings', price: 4_900, share: 4 },
] as const

/** Random numbers from 0 to 1 that are the same in each run. */
export type Random = () => number

/** The generator mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** One of the items. */
export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random() * items.length)]
  if (item === undefined) throw new Error('There is nothing to pick from')
  return item
}

/** One of the items, the more often the larger its share. */
export function pickByShare<T>(
  random: Random,
  items: readonly T[],
  shareOf: (item: T) => number,
): T {
  let rest = random() * items.reduce((sum, item) => sum + shareOf(item), 0)
  return items.find((item) => (rest -= shareOf(item)) < 0) ?? pick(random, items)
}

/** What is ordered, by whom. */
export type Order = {
  /** From 0, in the plan. */
  index: number
  sponsor: PlannedSponsor
  /** The name of the item in `CATALOG`. */
  item: string
  quantity: number
  random: Random
}
