import pg from 'pg'
import { connect } from '../src/db/connect.ts'
import { CODES, createBuyer } from './buyer.ts'
import { watchDatabase } from './database-watch.ts'
import { createBenchConference, issueBatch } from './issue.ts'
import { ROOT } from './other-version.ts'
import { startFakeStripeProcess, startServiceProcess } from './processes.ts'

export type SizesOptions = {
  /** Of the ordinary role, to which row security applies. */
  connectionString: string
  adminConnectionString: string
  print: (line: string) => void
  onEnd: (undo: () => Promise<unknown>) => void
}

const PURCHASES = 1_000
const IN_FLIGHT = 16
const ISSUED = 1_000_000
const REDEEMED = 100_000

type Size = { name: string; bytes: number }

// With indexes and TOAST; a partition counts for its table.
const SIZES = `
  select regexp_replace(c.oid::regclass::text, '_(default|until_)?[0-9]{4}_[0-9]{2}$|_default$', '') as name,
    sum(pg_total_relation_size(c.oid))::float8 as bytes
  from pg_class c
  where relkind = 'r' and relnamespace::regnamespace::text in ('public', 'stripe', 'graphile_worker')
  group by 1`

/** The bytes of a purchase, a code and a redemption in each table with its indexes, for docs/scaling.md. */
export async function reportSizes(options: SizesOptions): Promise<void> {
  const { connectionString, print, onEnd } = options
  const database = new URL(options.adminConnectionString)
  database.pathname = new URL(connectionString).pathname
  const admin = new pg.Client({ connectionString: database.href })
  await admin.connect()
  onEnd(() => admin.end())
  const sizes = async () => (await admin.query<Size>(SIZES)).rows

  const stripe = await startFakeStripeProcess('sk_test_sizes')
  onEnd(() => stripe.stop())
  const settings = { DATABASE_URL: connectionString, STRIPE_API_BASE: stripe.url }
  const service = await startServiceProcess(ROOT, settings, onEnd)
  const watch = await watchDatabase(database.href, 20)
  onEnd(() => watch.close())
  const buyer = await createBuyer(service, stripe.url, watch)

  const empty = await sizes()
  for (let bought = 0; bought < PURCHASES; bought += IN_FLIGHT) {
    const count = Math.min(IN_FLIGHT, PURCHASES - bought)
    await Promise.all(Array.from({ length: count }, () => buyer.buy()))
  }
  await buyer.rest()
  const bought = await sizes()
  print(`bytes of a purchase of ${CODES} codes, over ${PURCHASES} purchases`)
  report(print, difference(bought, empty), PURCHASES)

  const db = connect(connectionString)
  onEnd(() => db.destroy())
  const conference = await createBenchConference(db)
  await issueBatch(db, conference, ISSUED)
  const issued = await sizes()
  print(`bytes of a code, over ${ISSUED} codes of one batch`)
  report(print, difference(issued, bought), ISSUED)

  await admin.query(
    `with redeemed as (
       update vouchers set times_used = 1 where id in (
         select id from vouchers where conference_id = $1 and times_used = 0 limit ${REDEEMED})
       returning conference_id, id)
     insert into redemptions (conference_id, voucher_id, id, reference, redeemed_by)
     select conference_id, id, 'red_' || id || repeat('x', 16), 'order-' || id, 'key_' || repeat('x', 20) from redeemed`,
    [conference],
  )
  print(`bytes of a redemption, over ${REDEEMED} redemptions`)
  report(print, difference(await sizes(), issued), REDEEMED)
}

function difference(after: readonly Size[], before: readonly Size[]): Size[] {
  const start = new Map(before.map(({ name, bytes }) => [name, bytes]))
  return after.map(({ name, bytes }) => ({ name, bytes: bytes - (start.get(name) ?? 0) }))
}

function report(print: SizesOptions['print'], sizes: readonly Size[], count: number): void {
  const grown = sizes.filter(({ bytes }) => bytes > 0).toSorted((a, b) => b.bytes - a.bytes)
  for (const { name, bytes } of grown) print(`  ${name.padEnd(28)} ${Math.round(bytes / count)}`)
  const sum = grown.reduce((all, { bytes }) => all + bytes, 0)
  print(`  ${'all'.padEnd(28)} ${Math.round(sum / count)}`)
}
