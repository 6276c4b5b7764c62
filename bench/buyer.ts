import { randomBytes } from 'node:crypto'
import { Agent, request as httpRequest, type RequestOptions } from 'node:http'
import type { DatabaseWatch } from './database-watch.ts'
import type { ServiceProcess } from './processes.ts'

/** Of each purchase. */
export const CODES = 40

type Made = { id: string }
type Page<T> = { data: T[] }

/** Sends JSON and returns the answer's. @throws Error if it is not 2xx. */
export async function send<T>(method: string, url: string, key: string, body?: object): Promise<T> {
  const text = body === undefined ? '' : JSON.stringify(body)
  const headers = {
    authorization: `Bearer ${key}`,
    ...(body === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
  }
  const { status, answer } = await exchange(url, { method, headers, agent }, text)
  if (status >= 300) throw new Error(`${method} ${url} answered ${status}: ${answer}`)
  return JSON.parse(answer) as T // the caller says what it expects
}

const agent = new Agent({ keepAlive: true })

/** Not with fetch, which takes three times the CPU: the load shares the machine with what is measured. */
function exchange(
  url: string,
  options: RequestOptions,
  body: string,
): Promise<{ status: number; answer: string }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, options, (response) => {
      const chunks: Buffer[] = []
      response.on('error', reject)
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const answer = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, answer })
      })
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** A sponsor who buys through HTTP only, so that it works with any version of the service. */
export type Buyer = {
  /** Orders, opens the payment page, pays at Stripe and waits for the codes. */
  buy(): Promise<Bought>
  /** Orders and opens the payment page. */
  open(): Promise<OpenPurchase>
  /** Pays at Stripe, which then sends its events. */
  pay(session: string): Promise<unknown>
  /** Reads the codes of a purchase through the API. @throws Error if one is missing. */
  readCodes(purchase: string): Promise<void>
  conference: string
  /** Of its account at Stripe. */
  stripeKey: string
  /** Waits until Stripe has delivered all events and the service has processed them. */
  rest(): Promise<void>
  /** When Stripe sent the event of each session's payment, in milliseconds since 1970. */
  webhookTimes(): Promise<Map<string, number>>
}

/** A session that was paid, and when its codes were read, in milliseconds since 1970. */
export type Bought = { session: string; visibleAt: number }

export type OpenPurchase = { purchase: string; session: string }

// As docs/operations.md names them, as far as a purchase without trouble causes them.
const COMPLETED = 'checkout.session.completed'
const EVENTS = [COMPLETED, 'payment_intent.succeeded']

const RETURN_URLS = {
  success_url: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
  cancel_url: 'https://shop.example/cart',
}

/** Sets up a conference on its own Stripe account, with a ticket type for 10.00 EUR and a sponsor. */
export async function createBuyer(
  service: ServiceProcess,
  stripeUrl: string,
  watch: DatabaseWatch,
): Promise<Buyer> {
  const secret = `whsec_${randomBytes(16).toString('hex')}`
  const control = async <T>(method: string, path: string, body?: object): Promise<T> =>
    (await send<{ data: T }>(method, `${stripeUrl}/_fake/${path}`, '-', body)).data
  const conferences = `${service.url}/v1/conferences`
  const here = `${conferences}/bench`
  const make = <T extends Made>(path: string, body: object) =>
    send<T>('POST', `${here}/${path}`, service.operatorKey, body)

  const account = await control<{ id: string; secretKey: string }>('POST', 'create-account', {})
  const conference = await send<Made>('POST', conferences, service.operatorKey, {
    slug: 'bench',
    name: 'Bench',
    currency: 'EUR',
    stripe_secret_key: account.secretKey,
    stripe_webhook_secret: secret,
  })
  const url = `${service.url}/webhooks/stripe/bench`
  const endpoint = { account: account.id, url, secret, events: EVENTS }
  await control('POST', 'add-webhook-endpoint', endpoint)
  const ticket = await make('ticket-types', { name: 'Regular', price: 1_000, bulk_enabled: true })
  const sponsor = await make('sponsors', { name: 'Acme', contact_email: 'team@acme.example' })
  const { key } = await make<Made & { key: string }>('api-keys', {
    role: 'sponsor',
    sponsor: sponsor.id,
    name: 'bench',
  })

  const at = (purchase: string) => `${here}/purchases/${purchase}`
  const buyer: Buyer = {
    conference: conference.id,
    stripeKey: account.secretKey,
    async buy() {
      const { purchase, session } = await buyer.open()
      await buyer.pay(session)
      await watch.paid(purchase)
      await buyer.readCodes(purchase)
      return { session, visibleAt: Date.now() }
    },
    async open() {
      const order = { ticket_type: ticket.id, quantity: CODES }
      const { id: purchase } = await send<Made>('POST', `${here}/purchases`, key, order)
      const page = await send<{ session_id: string }>(
        'POST',
        `${at(purchase)}/checkout`,
        key,
        RETURN_URLS,
      )
      return { purchase, session: page.session_id }
    },
    pay: (session) => control('POST', 'pay', { session }),
    async readCodes(purchase) {
      const { data } = await send<Page<Made>>('GET', `${at(purchase)}/vouchers?limit=100`, key)
      if (data.length !== CODES) throw new Error(`${purchase} has ${data.length} codes`)
    },
    async rest() {
      await control('POST', 'wait-for-deliveries', { timeout_ms: 60_000 })
      await watch.allEventsProcessed()
    },
    async webhookTimes() {
      type Event = { id: string; data: { object: { id: string } } }
      type Delivery = { event: string; attempts: { at: string }[] }
      const filter = `account=${account.id}&type=${COMPLETED}`
      const deliveries = await control<Delivery[]>('GET', `deliveries?${filter}`)
      const events = await control<Event[]>('GET', `events?${filter}`)
      const sent = new Map(deliveries.map(({ event, attempts }) => [event, attempts[0]?.at]))
      return new Map(events.map(({ id, data }) => [data.object.id, Date.parse(sent.get(id) ?? '')]))
    },
  }
  return buyer
}
