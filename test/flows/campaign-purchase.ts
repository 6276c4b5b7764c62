import type { FakeStripe } from 'fake-stripe/source'
import { unique } from '../support/fixtures.ts'
import { type PurchaseAnswer, RETURN_URLS, type Shop } from '../support/shop.ts'
import type { Answer, Body, TestApp } from '../support/test-app.ts'

type Request = { action: 'checkout' | 'cancel' | 'refund' | 'reconcile'; key: string; body: Body }
type Sent = Request & { last: Answer<Body>; final: Body | null }

const URLS = ['cart', 'basket'].map((page) => ({
  ...RETURN_URLS,
  cancel_url: `https://shop.example/${page}`,
}))

const TOTAL = 10_000
const UNIT = 1_000
// The first five are the whole price.
const AMOUNTS = [2_500, 600, 4_500, 1_400, 1_000, 300, 700, 200, 800, 100]

/** One purchase of the campaign: what callers ask and are told, and what Stripe shows about it. */
export class CampaignPurchase {
  readonly id: string
  readonly log: string[]
  readonly #app: TestApp
  readonly #fake: FakeStripe
  readonly #shop: Shop
  readonly #account: string
  readonly #requests: Sent[] = []
  readonly #given = new Set<string>()
  #refunds = 0

  constructor(
    scene: { app: TestApp; fake: FakeStripe; shop: Shop; account: string; name: string },
    id: string,
  ) {
    this.id = id
    this.log = [`${scene.name} ${id}`]
    this.#app = scene.app
    this.#fake = scene.fake
    this.#shop = scene.shop
    this.#account = scene.account
  }

  rule(holds: boolean, text: string): void {
    if (!holds) throw new Error(`${text}\n${this.log.join('\n')}`)
  }

  async #send(request: Request): Promise<void> {
    const answer = await this.#app.request<Body>(
      'POST',
      `${this.#shop.path}/purchases/${this.id}/${request.action}`,
      { body: request.body, headers: { 'idempotency-key': request.key } },
    )
    const { status, body } = answer
    const result = status === 200 ? (body['session_id'] ?? body['status']) : body['code']
    this.log.push(`  ${request.action} ${request.key} → ${status} ${String(result)}`)
    let sent = this.#requests.find(({ key }) => key === request.key)
    if (sent === undefined) {
      sent = { ...request, last: answer, final: null }
      this.#requests.push(sent)
    }
    sent.last = answer
    if (status !== 200) return
    const isSame = sent.final === null || JSON.stringify(sent.final) === JSON.stringify(body)
    this.rule(isSame, `${request.key} was answered in two ways`)
    sent.final = body
    if (request.action === 'checkout') this.#given.add(String(body['session_id']))
  }

  checkout(random: () => number): Promise<void> {
    const body = URLS[Math.floor(random() * URLS.length)] ?? RETURN_URLS
    return this.#send({ action: 'checkout', key: unique('checkout'), body })
  }

  cancel(): Promise<void> {
    return this.#send({ action: 'cancel', key: unique('cancel'), body: {} })
  }

  reconcile(): Promise<void> {
    return this.#send({ action: 'reconcile', key: unique('reconcile'), body: {} })
  }

  /** Each has an amount of its own, by which its refunds at Stripe are recognised. */
  async refund(): Promise<void> {
    const amount = AMOUNTS[this.#refunds]
    this.#refunds += 1
    if (amount === undefined) return
    const body = { amount }
    await this.#send({ action: 'refund', key: unique('refund'), body })
  }

  /** Sends an earlier request again, under its key. */
  async repeat(random: () => number): Promise<void> {
    const sent = this.#requests[Math.floor(random() * this.#requests.length)]
    if (sent !== undefined) await this.#send(sent)
  }

  /** The payer pays a page whose URL somebody was given. */
  pay(): void {
    const session = this.openSessions().find((id) => this.#given.has(id))
    if (session === undefined) return
    this.#fake.control.pay(session)
    this.log.push(`  the payer pays ${session}`)
  }

  expire(): void {
    const [session] = this.openSessions()
    if (session === undefined) return
    this.#fake.control.expire(session)
    this.log.push(`  ${session} expires`)
  }

  #atStripe(kind: string): Body[] {
    return this.#fake.control
      .list(this.#account, kind)
      .map((object): Body => ({ ...object }))
      .filter(({ metadata }) => (metadata as Body)['purchase_id'] === this.id)
  }

  openSessions(): string[] {
    const open = this.#atStripe('checkout.session').filter(({ status }) => status === 'open')
    return open.map(({ id }) => String(id))
  }

  madeSessions(): number {
    return this.#atStripe('checkout.session').length
  }

  madeRefunds(): number {
    return this.#refundAmounts().length
  }

  #refundAmounts(): number[] {
    return this.#atStripe('refund').map(({ amount }) => Number(amount))
  }

  isPaid(): boolean {
    return this.#received() > 0
  }

  #received(): number {
    const intents = this.#atStripe('payment_intent')
    return intents.reduce((sum, intent) => sum + Number(intent['amount_received']), 0)
  }

  /** What holds after each step, whatever Stripe answers. */
  checkAlways(): void {
    const open = this.openSessions()
    this.rule(open.length <= 1, `${open.length} pages can be paid at the same time`)
    const amounts = this.#refundAmounts()
    this.rule(
      new Set(amounts).size === amounts.length,
      `refunds were made twice: ${amounts.join(', ')}`,
    )
    this.rule(this.#received() <= TOTAL, 'the purchase was paid twice')
    for (const { key, action, body, last } of this.#requests) {
      const isRefused = last.body['code'] === 'stripe_refused'
      this.rule(
        action !== 'refund' || !isRefused || !amounts.includes(Number(body['amount'])),
        `${key} was reported as refused, and its refund was made`,
      )
    }
  }

  /** The callers whose requests ended in an unknown outcome send them again. */
  async repeatUnanswered(): Promise<void> {
    for (const sent of this.#requests) {
      if (sent.last.status < 500) continue
      await this.#send(sent)
      this.rule(sent.last.status < 500, `${sent.key} still fails`)
    }
  }

  /** What holds when Stripe answers again and the timers have run. */
  async checkHealed(): Promise<PurchaseAnswer> {
    this.checkAlways()
    const now = await this.#shop.get(this.id)
    this.log.push(`  at the end: ${JSON.stringify(now)}`)
    const { status, vouchers, checkout } = now
    const open = this.openSessions()
    const expected = status === 'PROCESSING' ? [checkout?.session_id] : []
    this.rule(
      JSON.stringify(open) === JSON.stringify(expected),
      `a ${status} purchase has the open pages ${open.join(', ')}`,
    )
    const amounts = this.#refundAmounts()
    const refunded = amounts.reduce((sum, amount) => sum + amount, 0)
    const received = this.#received()
    const isPaid = received > 0
    const ends = isPaid
      ? [refunded === received ? 'REFUNDED' : 'PAID']
      : ['PENDING', 'PROCESSING', 'FAILED']
    this.rule(ends.includes(status), `${status} does not agree with ${received} − ${refunded}`)
    this.rule(
      now['amount_received'] === received && now['amount_refunded'] === refunded,
      'the sums do not agree with Stripe',
    )
    this.rule(vouchers.issued === (isPaid ? 10 : 0), 'codes are issued exactly once')
    const off = Math.floor(refunded / UNIT)
    this.rule(vouchers.deactivated === off && vouchers.frozen === 0, `${off} codes are off`)
    for (const { key, action, body, last } of this.#requests) {
      if (action !== 'refund') continue
      const made = amounts.filter((amount) => amount === body['amount']).length
      const wanted = last.status === 200 ? 1 : 0
      this.rule(made === wanted, `${key} answered ${last.status} and made ${made} refunds`)
    }
    return now
  }
}
