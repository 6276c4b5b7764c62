import type { FakeStripe } from 'fake-stripe/source'
import { beforeAll, expect, it } from 'vitest'
import { sweepAndWork } from '../support/purchase-jobs.ts'
import { generator } from '../support/random.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'
import { TEST_TIMEOUT } from '../support/timeouts.ts'
import { CampaignPurchase } from './campaign-purchase.ts'

const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = {}
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
})
const app = useTestApp({ env })

// Each conference has its own Stripe account, so that faults hit the requests of its lane only.
const LANES = 8
const PURCHASES_PER_LANE = 6
const STEPS = 12
// Planted faults that seed 1 does not meet at this size are met by this one.
const SEED = Number(process.env['CAMPAIGN_SEED'] ?? 2)

let pages = 0
let refunds = 0

type Fault = Parameters<FakeStripe['control']['injectFault']>[0]

const TARGETS: Pick<Fault, 'method' | 'path'>[] = [
  { method: 'POST', path: '/v1/checkout/sessions' },
  { method: 'POST', path: '/v1/checkout/sessions' },
  { method: 'POST', path: '/v1/checkout/sessions/*/expire' },
  { method: 'GET', path: '/v1/checkout/sessions' },
  { method: 'GET', path: '/v1/checkout/sessions/*' },
  { method: 'POST', path: '/v1/refunds' },
  { method: 'POST', path: '/v1/refunds' },
  { method: 'GET', path: '/v1/refunds' },
  { method: 'GET', path: '/v1/payment_intents/*' },
  { method: 'GET', path: '/v1/disputes' },
  { path: '/v1/**' },
]

// Before the work and after it. A 400 after the work is that of a repeat, whose first answer was lost.
// A cut connection is to the service what a timeout is, and takes no time.
const ANSWERS: Fault['action'][][] = [
  [{ kind: 'refuse', status: 401 }],
  [{ kind: 'refuse', status: 403 }],
  [{ kind: 'refuse', status: 400 }],
  [{ kind: 'refuse', status: 401, executed: true }],
  [{ kind: 'refuse', status: 403, executed: true }],
  [{ kind: 'error', status: 500 }],
  [{ kind: 'error', status: 503 }],
  [{ kind: 'cut' }],
  [{ kind: 'fail_after' }],
  [{ kind: 'fail_after', how: 'status_500' }],
  [{ kind: 'fail_after' }, { kind: 'refuse', status: 401 }],
  [{ kind: 'fail_after' }, { kind: 'refuse', status: 403 }],
  [{ kind: 'fail_after' }, { kind: 'refuse', status: 400 }],
]

/** A conference, its account, and the requests to it, one after the other. */
class Lane {
  readonly #random: () => number
  readonly #shop: Shop
  readonly #name: string
  readonly #account: string
  #key: string

  constructor(shop: Shop, seed: number) {
    this.#shop = shop
    this.#name = `seed ${seed}:`
    this.#random = generator(seed)
    this.#key = shop.stripeKey
    const account = stripe.fake.control.call(shop.stripeKey, 'GET', '/v1/account')
    this.#account = (account as { id: string }).id
  }

  #pick<T>(all: readonly T[]): T {
    const found = all[Math.floor(this.#random() * all.length)]
    if (found === undefined) throw new Error('There is nothing to pick from')
    return found
  }

  /** Makes some of the next requests fail. Returns what ends that. */
  #trouble({ log }: CampaignPurchase): () => void {
    if (this.#random() < 0.35) return () => {}
    const { control } = stripe.fake
    const target = this.#pick(TARGETS)
    const answers = this.#pick(ANSWERS)
    const skip = Math.floor(this.#random() * 2)
    const last = this.#random() < 0.4 ? 'always' : 1
    const ids = answers.map((action, i) => {
      const times = i === answers.length - 1 ? last : 1
      const fault = { ...target, account: this.#account, skip: i === 0 ? skip : 0, times, action }
      return control.injectFault(fault).id
    })
    const text = answers.map((action) => JSON.stringify(action)).join(', then ')
    log.push(`  ${target.method ?? ''} ${target.path} + ${skip}, ${last}: ${text}`)
    return () => {
      for (const id of ids) control.clearFaults(id)
    }
  }

  /** The key is revoked; the operator sets the new one at once or some steps later. */
  #nextKey: string | null = null

  async #roll({ log }: CampaignPurchase): Promise<void> {
    if (this.#nextKey === null) {
      this.#nextKey = stripe.fake.control.createKey(this.#account)
      stripe.fake.control.revokeKey(this.#key)
      log.push('  the key is revoked')
      if (this.#random() < 0.5) return
    }
    const status = await this.#setKey()
    log.push(`  a new key is set: ${status}`)
  }

  /** Not 200 if Stripe did not say whose key it is: then the operator sets it again later. */
  async #setKey(): Promise<number> {
    if (this.#nextKey === null) return 200
    const body = { stripe_secret_key: this.#nextKey }
    const { status } = await app.request('PATCH', this.#shop.path, { body })
    if (status !== 200) return status
    this.#key = this.#nextKey
    this.#nextKey = null
    return status
  }

  async #step(purchase: CampaignPurchase): Promise<void> {
    const random = this.#random
    const [unpaid, paid] = purchase.isPaid() ? [0.3, 1] : [1, 0.1]
    const payAndRead = async () => {
      purchase.pay()
      await purchase.reconcile()
    }
    const steps: [number, () => unknown][] = [
      [4 * unpaid, () => purchase.checkout(random)],
      [4, () => purchase.repeat(random)],
      [1, () => purchase.pay()],
      [3 * unpaid, payAndRead],
      [0.3, () => purchase.expire()],
      [1, () => purchase.cancel()],
      [6 * paid, () => purchase.refund()],
      [1 + 2 * paid, () => purchase.reconcile()],
      [2.5, () => sweepAndWork(app, this.#shop.conference)],
      [1.5, () => this.#roll(purchase)],
      [unpaid, () => Promise.all([purchase.checkout(random), purchase.checkout(random)])],
      [unpaid, () => Promise.all([purchase.checkout(random), purchase.cancel()])],
      [2 * paid, () => Promise.all([purchase.refund(), purchase.refund()])],
    ]
    let left = random() * steps.reduce((sum, [weight]) => sum + weight, 0)
    const chosen = steps.find(([weight]) => {
      left -= weight
      return left < 0
    })
    await chosen?.[1]()
  }

  async run(): Promise<void> {
    const purchases: CampaignPurchase[] = []
    for (let i = 0; i < PURCHASES_PER_LANE; i += 1) {
      const { id } = await this.#shop.buy()
      const scene = { app, fake: stripe.fake, shop: this.#shop, account: this.#account }
      const purchase = new CampaignPurchase({ ...scene, name: this.#name }, id)
      purchases.push(purchase)
      for (let step = 0; step < STEPS; step += 1) {
        const endTrouble = this.#trouble(purchase)
        await this.#step(purchase)
        endTrouble()
        purchase.checkAlways()
      }
    }
    await this.#heal(purchases)
  }

  async #heal(purchases: CampaignPurchase[]): Promise<void> {
    const status = await this.#setKey()
    if (status !== 200) throw new Error(`${this.#name} the new key was answered ${status}`)
    for (let round = 0; round < 3; round += 1) await sweepAndWork(app, this.#shop.conference)
    const failed = await sweepAndWork(app, this.#shop.conference)
    if (failed > 0) throw new Error(`${this.#name} ${failed} jobs still fail`)
    for (const purchase of purchases) {
      // What the webhooks of Stripe ask for.
      purchase.log.push('  Stripe answers again')
      await purchase.reconcile()
      purchase.checkAlways()
      await purchase.repeatUnanswered()
      const { status } = await purchase.checkHealed()
      pages += purchase.madeSessions()
      refunds += purchase.madeRefunds()
      if (status !== 'PROCESSING') continue
      purchase.pay()
      await purchase.reconcile()
      await purchase.checkHealed()
    }
  }
}

it('48 purchases at random, while Stripe refuses, fails and loses answers before and after the work and keys are rolled, end as the money says: at most one page, one refund for each request, codes once (issue 8, line 7)', {
  timeout: TEST_TIMEOUT,
}, async () => {
  const lanes: Lane[] = []
  for (let lane = 0; lane < LANES; lane += 1) {
    lanes.push(new Lane(await openShop(app), SEED * 1_000 + lane))
  }
  const results = await Promise.allSettled(lanes.map((lane) => lane.run()))
  const broken = results.flatMap((result) =>
    result.status === 'rejected' ? [String(result.reason)] : [],
  )
  expect(broken.join('\n\n')).toBe('')
  // The campaign must not become one in which nothing happens.
  expect(pages).toBeGreaterThan(LANES * PURCHASES_PER_LANE)
  expect(refunds).toBeGreaterThan(LANES * 3)
})
