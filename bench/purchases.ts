import { randomBytes } from 'node:crypto'
import { cpus, loadavg } from 'node:os'
import pg from 'pg'
import { type Column, renderTable } from '../src/cli/table.ts'
import { createPaint } from '../src/cli/terminal.ts'
import { inParallel } from '../src/shared/in-parallel.ts'
import { type Buyer, CODES, createBuyer } from './buyer.ts'
import type { Figure } from './compare.ts'
import { type DatabaseWatch, watchDatabase } from './database-watch.ts'
import { checkOutVersion, type OtherVersion, ROOT } from './other-version.ts'
import { type BenchProcess, startFakeStripeProcess, startServiceProcess } from './processes.ts'

export type PurchasesBenchOptions = {
  /** Of the ordinary role, to which row security applies. */
  connectionString: string
  /** Of an administrator of the same server: creates a database for each version. */
  adminConnectionString: string
  print: (line: string) => void
  /** Does not exist yet: for the checkout of the other version. */
  folder: string
  /** Gets what must be undone, newest first, also after an interrupt. */
  onEnd: (undo: () => Promise<unknown>) => void
  /** A commit, tag or branch. */
  against?: string | undefined
  /** Of each version. */
  rounds?: number
  /** Of each round. */
  purchases?: number
  inFlight?: number
}

/** The last commit before purchases and charges shared one payment engine. */
const BEFORE_ONE_ENGINE = '2852300'

/** What one round showed; all but the rate for one purchase. */
type Round = {
  rate: number
  serviceMs: number
  postgresMs: number | null
  othersMs: number
  roundTrips: number
  stripeRequests: number
  /** Of each purchase. */
  latencies: number[]
}

type Side = {
  name: string
  service: BenchProcess
  watch: DatabaseWatch
  buyer: Buyer
  rounds: Round[]
}

/**
 * Whole purchases (order, payment page, payment, signed webhook, codes) through this version and through
 * another one, in alternating rounds on one server, each version with a database of its own.
 */
export async function benchPurchases(options: PurchasesBenchOptions): Promise<Figure[]> {
  const { print, folder, onEnd, against = BEFORE_ONE_ENGINE } = options
  const { rounds = 8, purchases = 50, inFlight = 16 } = options
  const other = await checkOutVersion(against, folder, onEnd)
  announce(print, against, other)
  print(`  ${rounds} rounds of ${purchases} purchases of ${CODES} codes, ${inFlight} in flight`)
  print(
    `  ${cpus().length} × ${cpus()[0]?.model.trim()}, load ${loadavg()[0]?.toFixed(1)} at the start`,
  )

  const stripe = await startFakeStripeProcess('sk_test_purchases')
  onEnd(() => stripe.stop())
  const now = await startSide('now', ROOT, stripe.url, options)
  const before = other && (await startSide(other.commit, other.folder, stripe.url, options))
  const sides = before === null ? [now] : [before, now]
  for (const side of sides) {
    // After so many, V8 has compiled most of what a purchase runs.
    await measureRound(side, stripe, 4 * purchases, inFlight)
    side.rounds.length = 0
    // Plans that were made while the tables were empty are bad until autovacuum has run, a minute later.
    await side.watch.analyze()
  }
  for (let round = 0; round < rounds; round += 1) {
    // Each version is the first one of a pair in turn.
    const inOrder = round % 2 === 0 ? sides : sides.toReversed()
    for (const side of inOrder) await measureRound(side, stripe, purchases, inFlight)
  }
  print(render(now.rounds, before))
  const budgets = [
    ...(now.rounds.some(({ postgresMs }) => postgresMs === null)
      ? []
      : [againstBudget('CPU of a purchase, service and Postgres', 'ms', 35, now.rounds, cpuOf)]),
    againstBudget('round trips of a purchase', '', 60, now.rounds, ({ roundTrips }) => roundTrips),
  ]
  if (before === null) return budgets
  // What else the machine does changes from minute to minute, less within a pair.
  const ratios = now.rounds.map(({ rate }, pair) => rate / (before.rounds[pair]?.rate ?? 0))
  const pairs = ratios.map((each) => each.toFixed(2)).join(' ')
  const rate: Figure = {
    work: `whole purchases, ${inFlight} in flight`,
    against: before.name,
    unit: 'purchases/s',
    aim: { atLeast: 3 },
    ours: median(now.rounds, rateOf),
    other: median(before.rounds, rateOf),
    ...spreadOf(ratios),
  }
  print(`purchases a second, now / before, pair by pair: ${pairs}; median ${rate.ratio.toFixed(2)}`)
  return [rate, ...budgets]
}

/** What a purchase uses, against what it may use. */
function againstBudget(
  work: string,
  unit: string,
  budget: number,
  rounds: readonly Round[],
  get: (round: Round) => number,
): Figure {
  const ratios = rounds.map((round) => get(round) / budget)
  const measured = { ours: median(rounds, get), other: budget, ...spreadOf(ratios) }
  return { work, against: 'its budget', unit, aim: { atMost: 1 }, ...measured }
}

const spreadOf = (ratios: readonly number[]) => ({
  ratio: quantile(ratios, 0.5),
  lowest: Math.min(...ratios),
  highest: Math.max(...ratios),
})

function announce(print: (line: string) => void, ref: string, other: OtherVersion | null): void {
  if (other === null) {
    print(`whole purchases through this version alone: ${ref} is not in this repository.`)
    print(
      '  A shallow clone (git fetch --unshallow) or a tarball? --against <git ref> names another.',
    )
    return
  }
  print(`whole purchases: this version against ${other.commit} (${other.title})`)
  if (other.otherDependencies.length === 0) return
  print(
    `  ${other.commit} runs with our packages; it declares ${other.otherDependencies.join(', ')}`,
  )
}

async function startSide(
  name: string,
  folder: string,
  stripeUrl: string,
  { connectionString, adminConnectionString, onEnd }: PurchasesBenchOptions,
): Promise<Side> {
  const database = `bench_${randomBytes(6).toString('hex')}`
  const owner = new URL(connectionString).username
  onEnd(() => administer(adminConnectionString, `drop database if exists ${database} with (force)`))
  await administer(adminConnectionString, `create database ${database} owner ${owner}`)
  const settings = {
    DATABASE_URL: onDatabase(connectionString, database),
    STRIPE_API_BASE: stripeUrl,
  }
  const service = await startServiceProcess(folder, settings, onEnd)
  const watch = await watchDatabase(onDatabase(adminConnectionString, database))
  onEnd(() => watch.close())
  const buyer = await createBuyer(service, stripeUrl, watch)
  return { name, service, watch, buyer, rounds: [] }
}

async function administer(connectionString: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}

function onDatabase(connectionString: string, database: string): string {
  const url = new URL(connectionString)
  url.pathname = database
  return url.href
}

async function measureRound(
  side: Side,
  stripe: BenchProcess,
  purchases: number,
  inFlight: number,
): Promise<void> {
  const { buyer } = side
  const usage = () => usageOf(side, stripe)
  const before = await usage()
  const begun = performance.now()
  const bought = await inParallel(Array.from({ length: purchases }), inFlight, () => buyer.buy())
  // What is left of the events belongs to the purchases too.
  await buyer.rest()
  const seconds = (performance.now() - begun) / 1000
  const after = await usage()
  const sentAt = await buyer.webhookTimes()
  const each = (get: (usage: SideUsage) => number) => (get(after) - get(before)) / purchases
  side.rounds.push({
    rate: purchases / seconds,
    serviceMs: each(({ service }) => service.cpuMs),
    postgresMs: before.postgresMs === null ? null : each(({ postgresMs }) => postgresMs ?? 0),
    othersMs: each(({ othersMs }) => othersMs),
    roundTrips: each(({ service }) => service.roundTrips),
    stripeRequests: each(({ service }) => service.stripeRequests),
    latencies: bought.map(
      ({ session, visibleAt }) => visibleAt - (sentAt.get(session) ?? Number.NaN),
    ),
  })
}

type SideUsage = Awaited<ReturnType<typeof usageOf>>

async function usageOf({ service, watch }: Side, stripe: BenchProcess) {
  const { user, system } = process.cpuUsage()
  return {
    service: await service.usage(),
    postgresMs: await watch.cpuMs(),
    othersMs: (await stripe.usage()).cpuMs + (user + system) / 1000,
  }
}

/** Between two values it interpolates. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const [low = Number.NaN, high = low] = sorted.slice(Math.floor(at))
  return low + (high - low) * (at % 1)
}

const median = (rounds: readonly Round[], get: (round: Round) => number) =>
  quantile(rounds.map(get), 0.5)
const rateOf = ({ rate }: Round) => rate
const cpuOf = ({ serviceMs, postgresMs }: Round) => serviceMs + (postgresMs ?? 0)

type Line = { what: string; digits: number; of: (rounds: readonly Round[]) => number | null }

const medianOf = (what: string, get: (round: Round) => number): Line => ({
  what,
  digits: 1,
  of: (rounds) => median(rounds, get),
})

/** Null where the platform does not show it. */
const orUnknown = (what: string, get: (round: Round) => number | null): Line => ({
  what,
  digits: 1,
  of: (rounds) =>
    rounds.some((round) => get(round) === null) ? null : median(rounds, (round) => get(round) ?? 0),
})

const latency = (what: string, share: number): Line => ({
  what,
  digits: 0,
  of: (rounds) =>
    quantile(
      rounds.flatMap(({ latencies }) => latencies),
      share,
    ),
})

const LINES: readonly Line[] = [
  medianOf('purchases a second', ({ rate }) => rate),
  { what: '  slowest round', digits: 1, of: (rounds) => Math.min(...rounds.map(rateOf)) },
  { what: '  fastest round', digits: 1, of: (rounds) => Math.max(...rounds.map(rateOf)) },
  latency('webhook to codes, p50 ms', 0.5),
  latency('webhook to codes, p95 ms', 0.95),
  orUnknown('CPU ms a purchase', ({ serviceMs, postgresMs }) =>
    postgresMs === null ? null : serviceMs + postgresMs,
  ),
  medianOf('  service', ({ serviceMs }) => serviceMs),
  orUnknown('  Postgres', ({ postgresMs }) => postgresMs),
  medianOf('the load and the fake Stripe', ({ othersMs }) => othersMs),
  medianOf('round trips to Postgres', ({ roundTrips }) => roundTrips),
  medianOf('Stripe requests a purchase', ({ stripeRequests }) => stripeRequests),
]

function render(now: readonly Round[], before: Pick<Side, 'name' | 'rounds'> | null): string {
  const text = (value: number | null, digits: number) => value?.toFixed(digits) ?? null
  const show = (rounds: readonly Round[]) => (line: Line) => text(line.of(rounds), line.digits)
  const columns: Column<Line>[] = [{ head: '', cell: ({ what }) => what }]
  if (before !== null) columns.push(column(before.name, show(before.rounds)))
  columns.push(column('now', show(now)))
  if (before !== null) {
    const compare = ({ of }: Line) => text(divided(of(now), of(before.rounds)), 2)
    columns.push(column('now / before', compare))
  }
  return renderTable(LINES, columns, createPaint(false)).trimEnd()
}

const column = (head: string, cell: Column<Line>['cell']): Column<Line> => ({
  head,
  cell,
  align: 'right',
})

const divided = (now: number | null, before: number | null) =>
  now === null || before === null ? null : now / before
