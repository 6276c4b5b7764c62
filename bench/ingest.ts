import { randomBytes, randomUUID } from 'node:crypto'
import Stripe from 'stripe'
import { send } from './buyer.ts'
import { compareRounds, type Figure } from './compare.ts'
import { type Load, requestsPerSecond } from './load.ts'
import { ROOT } from './other-version.ts'
import { startBareServerProcess, startFakeStripeProcess, startServiceProcess } from './processes.ts'

export type IngestBenchOptions = {
  /** Of the ordinary role, to which row security applies. */
  connectionString: string
  onEnd: (undo: () => Promise<unknown>) => void
  /** Of each figure; one more warms up. */
  rounds?: number
  /** Of each round. */
  requests?: number
}

/** HTTP connections, and which part of the bare server's rate we want. */
const LOADS = [
  { connections: 10, atLeast: 0.8 },
  { connections: 50, atLeast: 1.2 },
  { connections: 100, atLeast: 1.4 },
]

/**
 * Signed webhooks over HTTP, against a server that inserts the same bodies with one statement for each.
 * No purchase and no mirrored object depends on their type, so the workers of the process have nothing
 * to process.
 */
export async function benchIngest(options: IngestBenchOptions): Promise<Figure[]> {
  const { rounds = 5, requests = 3_000 } = options
  const { url, secret } = await openConference(options)
  const bare = await startBareServerProcess(options.connectionString, options.onEnd)
  const load = (connections: number): Omit<Load, 'url'> => ({
    connections,
    amount: requests,
    method: 'POST',
    headers: { 'content-type': 'application/webhook' },
    next: () => signedEvent(secret),
  })
  const figures: Figure[] = []
  for (const { connections, atLeast } of LOADS) {
    const compared = await compareRounds(
      () => requestsPerSecond({ url: `${url}/webhooks/stripe/bench`, ...load(connections) }),
      () => requestsPerSecond({ url: `${bare.url}/events`, ...load(connections) }),
      rounds,
    )
    figures.push({
      work: `store webhooks of ${connections} connections`,
      against: 'one INSERT each',
      unit: 'requests/s',
      aim: { atLeast },
      ...compared,
    })
  }
  return figures
}

/** A conference with one webhook secret. */
async function openConference({ connectionString, onEnd }: IngestBenchOptions) {
  const stripe = await startFakeStripeProcess('sk_test_ingest')
  onEnd(() => stripe.stop())
  const service = await startServiceProcess(
    ROOT,
    { DATABASE_URL: connectionString, STRIPE_API_BASE: stripe.url },
    onEnd,
  )
  const secret = `whsec_${randomBytes(16).toString('hex')}`
  await send('POST', `${service.url}/v1/conferences`, service.operatorKey, {
    slug: 'bench',
    name: 'Bench',
    currency: 'EUR',
    stripe_webhook_secret: secret,
  })
  return { url: service.url, secret }
}

/** A `checkout.session.completed` has about so many bytes. */
const FILLER = 'x'.repeat(3_200)

function signedEvent(secret: string) {
  const body = JSON.stringify({
    id: `evt_${randomUUID().replaceAll('-', '')}`,
    object: 'event',
    api_version: '2026-10-28.endive',
    created: Math.floor(Date.now() / 1000),
    livemode: false,
    type: 'balance.available',
    data: { object: { object: 'balance', livemode: false, filler: FILLER } },
  })
  const signature = Stripe.webhooks.generateTestHeaderString({ payload: body, secret })
  return { body, headers: { 'stripe-signature': signature } }
}
