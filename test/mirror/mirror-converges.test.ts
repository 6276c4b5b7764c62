import fc from 'fast-check'
import type Stripe from 'stripe'
import { afterEach, describe, expect, it } from 'vitest'
import { syncAll } from '../../src/mirror/runs/execute-sync-run.ts'
import { expectMirrored } from './expect-mirrored.ts'
import { actionOf } from './mirrored-row.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

const scene = useSyncScene()
afterEach(() => {
  scene.fake.control.clearFaults()
  scene.fake.control.resume()
})

/** Returns a number below n. */
type Choose = (n: number) => number

type World = { shop: WiredShop; stripe: Stripe; choose: Choose; customers: Set<string> }

const CODES = ['EARLY', 'LATE', 'last minute'] as const

const pick = <T>(choose: Choose, from: readonly T[]): T | undefined => from[choose(from.length)]

/** Changes that are not possible at the moment are skipped. */
async function tryTo(work: () => PromiseLike<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof Error && 'statusCode' in error)) throw error
  }
}

/** Changes at Stripe. The id of a deleted coupon can be reused. */
const CHANGES: { [what: string]: (world: World) => Promise<void> } = {
  async createCustomer({ stripe, customers, choose }) {
    customers.add((await stripe.customers.create({ name: `Customer ${choose(1_000)}` })).id)
  },
  async updateCustomer({ stripe, customers, choose }) {
    const id = pick(choose, [...customers])
    const name = `Renamed ${choose(1_000)}`
    if (id !== undefined) await tryTo(() => stripe.customers.update(id, { name }))
  },
  async deleteCustomer({ stripe, customers, choose }) {
    const id = pick(choose, [...customers])
    if (id !== undefined) await tryTo(() => stripe.customers.del(id))
  },
  async createCoupon({ stripe, choose }) {
    const id = pick(choose, CODES)
    if (id === undefined) return
    await tryTo(() => stripe.coupons.create({ id, percent_off: 1 + choose(99) }))
  },
  async updateCoupon({ stripe, choose }) {
    const id = pick(choose, CODES) ?? ''
    await tryTo(() => stripe.coupons.update(id, { name: `Name ${choose(1_000)}` }))
  },
  async deleteCoupon({ stripe, choose }) {
    await tryTo(() => stripe.coupons.del(pick(choose, CODES) ?? ''))
  },
}

/** Syncs that can run at any point of a history. */
const BESIDE: ((world: World) => Promise<unknown>)[] = [
  ({ shop }) => syncAll(actionOf(scene, shop, 'customers'), { force: true }),
  ({ shop }) => syncAll(actionOf(scene, shop, 'coupons'), { force: true }),
]

const eventIds = ({ shop }: World) =>
  scene.fake.control.events({ account: shop.stripeKey }).map(({ id }) => id)

/**
 * Plays a history. Between the changes, any event can arrive, also repeatedly, workers can run, and full
 * syncs can be in progress. At the end, all missing events arrive.
 */
async function run(world: World, changes: readonly string[], isSynced: boolean): Promise<void> {
  const { choose } = world
  const came = new Set<string>()
  const running: Promise<unknown>[] = []
  const deliver = async (ids: readonly string[]) => {
    for (const id of ids) came.add(id)
    await Promise.all(ids.map((id) => scene.fake.control.deliver(id)))
  }
  for (const change of changes) {
    await CHANGES[change]?.(world)
    const known = eventIds(world)
    await deliver(known.length === 0 ? [] : known.filter(() => choose(4) === 0))
    // Not awaited: the next steps happen during the sync.
    if (choose(2) === 0) running.push(scene.workOn('mirror'))
    const beside = isSynced && choose(3) === 0 ? pick(choose, BESIDE) : undefined
    if (beside !== undefined) running.push(beside(world).catch(allowBusy))
  }
  const left = eventIds(world).filter((id) => !came.has(id))
  while (left.length > 0) {
    await deliver(left.splice(choose(left.length), 1 + choose(3)))
    if (choose(2) === 0) running.push(scene.workOn('mirror'))
  }
  await Promise.all(running)
  await scene.drain()
}

function allowBusy(error: unknown): void {
  const isBusy = error instanceof Error && 'code' in error && error.code === 'sync_running'
  if (!isBusy) throw error
}

describe('any history of creations, changes, deletions and reused ids', () => {
  it.each([
    ['events in any order, repeated and late', false],
    ['with full syncs in between', true],
  ])(
    'ends with rows equal to Stripe’s objects: %s',
    async (_how, isSynced) => {
      const history = fc.array(fc.constantFrom(...Object.keys(CHANGES)), {
        minLength: 6,
        maxLength: 24,
      })
      await fc.assert(
        fc.asyncProperty(history, fc.infiniteStream(fc.nat()), async (changes, choices) => {
          const shop = await scene.openWiredShop()
          scene.fake.control.pause()
          scene.fake.control.injectFault({
            method: 'GET',
            times: 'always',
            action: { kind: 'slow', ms: 5 },
          })
          const stripe = scene.stripeOf(shop)
          const choose: Choose = (n) => (n === 0 ? 0 : (choices.next().value ?? 0) % n)
          const world: World = { shop, stripe, choose, customers: new Set() }
          await run(world, changes, isSynced)
          const states = new Set((await scene.events(shop)).map(({ status }) => status))
          expect([...states].filter((status) => status !== 'done')).toEqual([])
          scene.fake.control.clearFaults()
          for (const id of world.customers) await expectMirrored(scene, shop, 'customers', id)
          for (const { id } of await scene.stored(shop, 'coupons')) {
            await expectMirrored(scene, shop, 'coupons', id)
          }
          const living = scene.fake.control.list(shop.stripeKey, 'coupon').map(({ id }) => id)
          for (const id of living) await expectMirrored(scene, shop, 'coupons', id)
        }),
        { numRuns: 6, seed: 20_260_116, endOnFailure: true },
      )
    },
    180_000,
  )
})
