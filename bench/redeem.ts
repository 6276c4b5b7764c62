import pg from 'pg'
import { send } from './buyer.ts'
import { compareRounds, type Figure } from './compare.ts'
import { requestsPerSecond } from './load.ts'
import { ROOT } from './other-version.ts'
import { startBareServerProcess, startFakeStripeProcess, startServiceProcess } from './processes.ts'

export type RedeemBenchOptions = {
  /** Of the ordinary role, to which row security applies. */
  connectionString: string
  onEnd: (undo: () => Promise<unknown>) => void
  /** Of each figure; one more warms up. */
  rounds?: number
  /** Of each round. */
  requests?: number
}

/** Of HTTP, each with one request in flight. */
const CONNECTIONS = 32

/**
 * Redemptions over HTTP with the key of a ticket shop, against a server that only updates one row by
 * its key for each request: of another code each time, and of one code with many uses.
 */
export async function benchRedeem(options: RedeemBenchOptions): Promise<Figure[]> {
  const { rounds = 5, requests = 2_000 } = options
  const { url, key, codes, hotCode } = await openShop(options, requests * (rounds + 1))
  const bare = await startBareServerProcess(options.connectionString, options.onEnd)

  let sent = 0
  const redeem = (code: () => string) => () =>
    requestsPerSecond({
      url,
      connections: CONNECTIONS,
      amount: requests,
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      next: () => ({
        path: `/v1/conferences/bench/vouchers/${code()}/redemptions`,
        body: JSON.stringify({ reference: `order-${(sent += 1)}` }),
      }),
    })
  const update = (id: () => number) => () =>
    requestsPerSecond({
      url: bare.url,
      connections: CONNECTIONS,
      amount: requests,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      next: () => ({
        path: `/uses/${id()}`,
        body: JSON.stringify({ reference: `order-${(sent += 1)}` }),
      }),
    })
  const nextCode = () => codes.pop() ?? 'NONE-LEFT'
  const figure = { against: 'one UPDATE by key', unit: 'requests/s', aim: { atLeast: 0.4 } }
  const distinct = await compareRounds(
    redeem(nextCode),
    update(() => (sent % 19_999) + 1),
    rounds,
  )
  const hot = await compareRounds(
    redeem(() => hotCode),
    update(() => 0),
    rounds,
  )
  return [
    { ...figure, work: 'redeem distinct codes', ...distinct },
    { ...figure, work: 'redeem one hot code', ...hot },
  ]
}

/** A conference with so many codes, one code with many uses, and the key of its ticket shop. */
async function openShop({ connectionString, onEnd }: RedeemBenchOptions, count: number) {
  const stripe = await startFakeStripeProcess('sk_test_redeem')
  onEnd(() => stripe.stop())
  const service = await startServiceProcess(
    ROOT,
    { DATABASE_URL: connectionString, STRIPE_API_BASE: stripe.url },
    onEnd,
  )
  const here = `${service.url}/v1/conferences/bench`
  const make = <T>(path: string, body: object) =>
    send<T>('POST', `${here}/${path}`, service.operatorKey, body)
  await send('POST', `${service.url}/v1/conferences`, service.operatorKey, {
    slug: 'bench',
    name: 'Bench',
    currency: 'EUR',
    max_quantity: 1_000_000,
  })
  await make('voucher-batches', { count, voucher_type: 'comp' })
  const hot = await make<{ id: string }>('voucher-batches', {
    count: 1,
    voucher_type: 'comp',
    max_uses: 1_000_000,
  })
  const { key } = await make<{ key: string }>('api-keys', {
    role: 'staff',
    scopes: ['vouchers:redeem'],
    name: 'shop',
  })
  const vouchers = await readVouchers(connectionString)
  return {
    url: service.url,
    key,
    codes: vouchers.filter(({ batch_id }) => batch_id !== hot.id).map(({ code }) => code),
    hotCode: vouchers.find(({ batch_id }) => batch_id === hot.id)?.code ?? '',
  }
}

async function readVouchers(connectionString: string) {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    await client.query('vacuum analyze vouchers')
    await client.query(`set app.system_task = 'debug'`)
    // An API client would not have them in the order of the table either.
    const { rows } = await client.query<{ code: string; batch_id: string }>(
      'select code, batch_id from vouchers order by random()',
    )
    return rows
  } finally {
    await client.end()
  }
}
