import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Interrupted, interruptSignal, unlessInterrupted } from '../src/cli/terminal.ts'
import { startEmbeddedPostgres } from '../src/db/embedded/start-embedded-postgres.ts'
import { migrateToLatest } from '../src/db/migrations.ts'
import { benchBudget } from './budget.ts'
import { describeMachine, type Figure, isMet, renderFigures } from './compare.ts'
import { benchExport } from './export.ts'
import { benchInbox } from './inbox.ts'
import { benchIngest } from './ingest.ts'
import { benchIssue } from './issue.ts'
import { benchLists } from './lists.ts'
import { benchPaidAtOnce } from './paid-at-once.ts'
import { benchPartitions } from './partitions.ts'
import { benchPurchases } from './purchases.ts'
import { benchRedeem } from './redeem.ts'
import { reportSizes } from './sizes.ts'
import { soak } from './soak.ts'
import { benchSync } from './sync.ts'

// Figures are ratios within one run on one durable server: they compare ways, not machines.
const BENCHES = {
  budget: benchBudget,
  export: benchExport,
  inbox: benchInbox,
  ingest: benchIngest,
  issue: benchIssue,
  lists: benchLists,
  'paid-at-once': benchPaidAtOnce,
  partitions: benchPartitions,
  purchases: benchPurchases,
  redeem: benchRedeem,
  sync: benchSync,
  sizes: reportSizes,
  soak,
}
/** These take minutes and compare nothing, so they run only when they are named. */
const LONG: readonly string[] = ['partitions', 'sizes', 'soak']

function chosen(names: string[]): (keyof typeof BENCHES)[] {
  const known = Object.keys(BENCHES) as (keyof typeof BENCHES)[]
  const unknown = names.filter((name) => !known.some((each) => each === name))
  if (unknown.length > 0) {
    throw new Error(`There is no bench ${unknown.join(', ')}. There are: ${known.join(', ')}.`)
  }
  return known.filter((name) => (names.length === 0 ? !LONG.includes(name) : names.includes(name)))
}

function numberOf(minutes: string | undefined): { minutes?: number } {
  if (minutes === undefined) return {}
  if (!/^[1-9]\d*$/.test(minutes)) throw new Error('--minutes must be a whole number, 1 or more.')
  return { minutes: Number(minutes) }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    against: { type: 'string' },
    only: { type: 'string', multiple: true },
    minutes: { type: 'string' },
  },
})
const { against, minutes } = values
const names = chosen([...positionals, ...(values.only ?? [])])
const print = (line: string) => void process.stdout.write(`${line}\n`)
const signal = interruptSignal()

const undoing: (() => Promise<unknown>)[] = []
const onEnd = (undo: () => Promise<unknown>) => void undoing.push(undo)
async function undoAll(): Promise<void> {
  for (const undo of undoing.splice(0).toReversed()) {
    await undo().catch((error: unknown) => print(`could not clean up: ${String(error)}`))
  }
}

const figures: Figure[] = []
const keep = (result: unknown) => void (Array.isArray(result) && figures.push(...result))
print(describeMachine())
const folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-bench-'))
try {
  for (const name of names) {
    print(`\n${name}`)
    // A database of its own for each: the figures depend on what is in it.
    const server = await startEmbeddedPostgres({ folder: join(folder, name) })
    onEnd(() => server.stop())
    await migrateToLatest(server.connectionString)
    const options = {
      ...server,
      print,
      folder: join(folder, `${name}-more`),
      onEnd,
      against,
      ...numberOf(minutes),
    }
    keep(await unlessInterrupted<unknown>(signal, BENCHES[name](options)))
    await undoAll()
  }
  const missed = figures.filter((figure) => !isMet(figure)).length
  if (figures.length > 0)
    print(`\n${renderFigures(figures)}${missed} of ${figures.length} aims missed`)
} catch (error) {
  if (!(error instanceof Interrupted)) throw error
  process.exitCode = 130
} finally {
  await undoAll()
  await rm(folder, { recursive: true, force: true })
}
// An interrupted bench may still have sockets open.
if (signal.aborted) process.exit()
