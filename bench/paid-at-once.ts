import { randomBytes } from 'node:crypto'
import { cpus } from 'node:os'
import pg from 'pg'
import { newCodes } from '../src/vouchers/issue-vouchers.ts'
import { type Buyer, CODES, createBuyer, type OpenPurchase } from './buyer.ts'
import { compareRounds, type Figure, median } from './compare.ts'
import { type DatabaseWatch, watchDatabase } from './database-watch.ts'
import { ROOT } from './other-version.ts'
import { startBareServerProcess, startFakeStripeProcess, startServiceProcess } from './processes.ts'

export type PaidAtOnceOptions = {
  /** Of the ordinary role, to which row security applies. */
  connectionString: string
  adminConnectionString: string
  onEnd: (undo: () => Promise<unknown>) => void
  rounds?: number
  /** Purchases of each round that are paid one after the other. */
  single?: number
  /** Purchases of each round that are paid at once. */
  atOnce?: number
}

/** Purchases that are bought first, so that the code is compiled and statements are prepared. */
const WARM_UP = 100
/** The watch's own delay must be small against what it measures. */
const POLL_MS = 2

/**
 * From the webhook to the codes: one purchase after the other, and many paid at once, against the sum of what
 * such a purchase cannot do without.
 */
export async function benchPaidAtOnce(options: PaidAtOnceOptions): Promise<Figure[]> {
  const { connectionString, onEnd, rounds = 4, single = 20, atOnce = 200 } = options
  const database = new URL(options.adminConnectionString)
  database.pathname = new URL(connectionString).pathname
  const stripe = await startFakeStripeProcess('sk_test_paid')
  onEnd(() => stripe.stop())
  const settings = { DATABASE_URL: connectionString, STRIPE_API_BASE: stripe.url }
  const service = await startServiceProcess(ROOT, settings, onEnd)
  const watch = await watchDatabase(database.href, POLL_MS)
  onEnd(() => watch.close())
  const buyer = await createBuyer(service, stripe.url, watch)
  const bare = await startBareServerProcess(connectionString, onEnd)
  const rows = await writeRowsAlone(connectionString, buyer.conference, onEnd)

  await Promise.all(Array.from({ length: WARM_UP }, () => buyer.buy()))
  await buyer.rest()
  await watch.analyze()

  const sumOfParts = async () => {
    const samples: number[] = []
    for (let i = 0; i < single; i += 1) {
      const paid = await openMany(buyer, 1)
      await payAndWait(buyer, paid, watch)
      await buyer.rest()
      const parts = [
        () => post(`${bare.url}/events`),
        () => fetchAsAReconcile(stripe.url, buyer, paid[0]?.session ?? ''),
        () => rows.write(),
        () => buyer.readCodes(paid[0]?.purchase ?? ''),
      ]
      let sum = 0
      for (const part of parts) sum += await elapsed(part)
      samples.push(sum)
    }
    return median(samples)
  }
  const oneByOne = async () => {
    const samples: number[] = []
    for (let i = 0; i < single; i += 1) {
      const bought = await buyer.buy()
      await buyer.rest()
      const sentAt = (await buyer.webhookTimes()).get(bought.session) ?? Number.NaN
      samples.push(bought.visibleAt - sentAt)
    }
    return median(samples)
  }
  const allAtOnce = async () => {
    const open = await openMany(buyer, atOnce)
    const seconds = (await elapsed(() => payAndWait(buyer, open, watch))) / 1000
    await buyer.rest()
    return seconds
  }
  const shareOfCores = async () => ((await sumOfParts()) * atOnce) / cpus().length / 1000
  return [
    {
      work: `webhook to ${CODES} codes, p50`,
      against: 'the sum of its parts',
      unit: 'ms',
      aim: { atMost: 3 },
      ...(await compareRounds(oneByOne, sumOfParts, rounds)),
    },
    {
      work: `${atOnce} paid at once`,
      against: 'the sum of the parts ÷ cores',
      unit: 's',
      aim: { atMost: 4 },
      ...(await compareRounds(allAtOnce, shareOfCores, rounds)),
    },
  ]
}

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** A few at a time, as sponsors do. */
async function openMany(buyer: Buyer, count: number): Promise<OpenPurchase[]> {
  const open: OpenPurchase[] = []
  while (open.length < count) {
    const next = Math.min(8, count - open.length)
    open.push(...(await Promise.all(Array.from({ length: next }, () => buyer.open()))))
  }
  return open
}

/** The status PAID and the codes are in one commit. */
async function payAndWait(
  buyer: Buyer,
  open: readonly OpenPurchase[],
  watch: DatabaseWatch,
): Promise<void> {
  await Promise.all(
    open.map(async ({ session, purchase }) => {
      await buyer.pay(session)
      await watch.paid(purchase)
    }),
  )
}

/** A `checkout.session.completed` has about so many bytes. */
const EVENT = 'x'.repeat(3_500)

/** The webhook: one insert, without the check of a signature. */
async function post(url: string): Promise<void> {
  const headers = { 'content-type': 'application/webhook' }
  const response = await fetch(url, { method: 'POST', headers, body: EVENT })
  await response.arrayBuffer()
}

/** The requests of one reconcile: the session first, because only it names the payment. */
async function fetchAsAReconcile(
  url: string,
  { stripeKey }: Buyer,
  session: string,
): Promise<void> {
  const get = async (path: string) => {
    const headers = { authorization: `Bearer ${stripeKey}` }
    const response = await fetch(`${url}/v1/${path}`, { headers })
    if (!response.ok) throw new Error(`${path} answered ${response.status}`)
    return (await response.json()) as { payment_intent?: string } // a session names its payment
  }
  const { payment_intent: payment = '' } = await get(`checkout/sessions/${session}`)
  const list = `payment_intent=${payment}&limit=100`
  await Promise.all([
    get(`payment_intents/${payment}`),
    get(`refunds?${list}`),
    get(`disputes?${list}`),
  ])
}

/**
 * One transaction with the rows that a payment writes, over one connection with prepared statements: the
 * purchase, its transition, and the batch with its codes.
 */
async function writeRowsAlone(
  connectionString: string,
  conference: string,
  onEnd: PaidAtOnceOptions['onEnd'],
) {
  const client = new pg.Client({ connectionString })
  // The server may stop first when the bench is interrupted.
  client.on('error', () => {})
  await client.connect()
  onEnd(() => client.end())
  await client.query(`select set_config('app.conference_id', $1, false)`, [conference])
  const run = (name: string, text: string, values: unknown[]) =>
    client.query({ name, text, values })
  const purchase = `bp_${randomBytes(8).toString('hex')}`
  let batch = 0
  return {
    async write() {
      batch += 1
      const id = `vb_bench_${batch}`
      await client.query('begin')
      if (batch === 1) {
        await client.query(
          `insert into bulk_purchases (conference_id, id, quantity, unit_amount, total_amount, currency,
             price_source, description, voucher_type, discount_value, max_uses, unlocks_hidden_tickets,
             code_prefix, requested_by)
           values ($1, $2, $3, 1000, $3 * 1000, 'EUR', 'staff', 'Bench', 'comp', 100, 1, false, 'B-', 'bench')`,
          [conference, purchase, CODES],
        )
      }
      await run(
        'purchase',
        `update bulk_purchases set reconcile_ticket = reconcile_ticket + 1, updated_at = now()
         where conference_id = $1 and id = $2`,
        [conference, purchase],
      )
      await run(
        'transition',
        `insert into purchase_transitions (conference_id, purchase_id, from_status, to_status, event, cause,
           actor_kind, actor_id)
         values ($1, $2, 'PROCESSING', 'PAID', 'PAYMENT_SUCCEEDED', 'bench', 'system', 'bench')`,
        [conference, purchase],
      )
      await run(
        'batch',
        `insert into voucher_batches (conference_id, id, source, count, prefix, code_length, voucher_type,
           discount_value, currency, max_uses, unlocks_hidden_tickets, created_by)
         values ($1, $2, 'staff', $3, 'B-', 12, 'comp', 100, 'EUR', 1, false, 'bench')`,
        [conference, id, CODES],
      )
      const codes = newCodes('B-', 12, CODES)
      await run(
        'codes',
        `insert into vouchers (conference_id, batch_id, ordinal, code, code_key, max_uses)
         select $1, $2, made.ordinal, made.code, upper(translate(made.code, ' -', '')) collate "C", 1
         from unnest($3::text[]) with ordinality as made (code, ordinal)`,
        [conference, id, codes],
      )
      await client.query('commit')
    },
  }
}
