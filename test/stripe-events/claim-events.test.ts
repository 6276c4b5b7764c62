import { describe, expect, it } from 'vitest'
import { connect } from '../../src/db/connect.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import {
  type ClaimedEvent,
  claimEvents,
  lockClaimed,
  releaseClaimed,
  renewClaimed,
} from '../../src/stripe-events/claim-events.ts'
import { groupByPurchase } from '../../src/stripe-events/group-events.ts'
import { directUrl } from '../support/test-connections.ts'
import { eventOf, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

const claim = (limit = 50, leaseSeconds = 60) =>
  claimEvents(app.db, { lane: 'purchase', limit, leaseSeconds })

async function fill(count: number, purchase?: string): Promise<WiredShop> {
  await app.rows(`delete from stripe_events`)
  const shop = await app.openWiredShop()
  for (let i = 0; i < count; i += 1) {
    const object = { id: `pi_${i}`, object: 'payment_intent', metadata: { purchase_id: purchase } }
    await app.post(shop, eventOf('payment_intent.succeeded', object))
  }
  return shop
}

const endLeases = () =>
  app.rows(`update stripe_events set next_attempt_at = now(), lease_until = now()`)

const own = (shop: WiredShop, events: ClaimedEvent[]) =>
  withTenant(app.db, { conferenceId: shop.conference }, (trx) => lockClaimed(trx, events))

describe('a claim', () => {
  it('gives each due event to one worker, longest due first', async () => {
    await fill(12)
    const claims = await Promise.all([claim(5), claim(5), claim(5)])
    const ids = claims.flat().map(({ id }) => id)
    expect(new Set(ids).size).toBe(12)
    expect(ids).toHaveLength(12)
    expect(claims.flat().map(({ attempts }) => attempts)).toEqual(Array(12).fill(1))
    expect(await claim()).toEqual([])
  })

  it('does not wait for an event that another transaction has locked (issue 8, line 32)', async () => {
    const shop = await fill(2)
    // A claim that waits ends with an error, so that this test cannot hang.
    const url = new URL(directUrl(app.connectionString))
    url.searchParams.set('options', '-c lock_timeout=2s')
    const impatient = connect(url.href)
    try {
      await withTenant(app.db, { conferenceId: shop.conference }, async (trx) => {
        const locked = await trx('stripe_events').orderBy('id').forUpdate().first('id')
        const events = await claimEvents(impatient, {
          lane: 'purchase',
          limit: 50,
          leaseSeconds: 60,
        })
        expect(events).toHaveLength(1)
        expect(events.map(({ id }) => id)).not.toContain(locked?.id)
      })
    } finally {
      await impatient.destroy()
    }
  })

  it('of a dead worker ends with its lease; then another worker owns the event', async () => {
    const shop = await fill(1)
    const [dead] = await claim()
    expect(await claim()).toEqual([])
    await endLeases()
    const [alive] = await claim()
    expect(alive).toMatchObject({ id: dead?.id, attempts: 2 })
    if (dead === undefined || alive === undefined) throw new Error('not claimed')
    // When the first worker was only slow, it finds that it lost the event.
    expect(await own(shop, [dead])).toEqual([])
    expect(await own(shop, [alive])).toEqual([alive])
  })

  it('ends by the clock of the database', async () => {
    await fill(1)
    await claim(50, 1)
    await expect.poll(async () => (await claim(50, 1)).length).toBe(1)
  })

  it('can be renewed only by its holder, and released without counting as an attempt', async () => {
    await fill(1)
    const first = await claim()
    await endLeases()
    const second = await claim()
    await endLeases()
    await renewClaimed(app.db, first, 60)
    expect(await app.rows(`select id from stripe_events where lease_until > now()`)).toEqual([])
    await renewClaimed(app.db, second, 60)
    expect(await claim()).toEqual([])
    await releaseClaimed(app.db, second)
    expect(await claim()).toMatchObject([{ attempts: 2 }])
  })

  it('is renewed and released in the order in which events are closed, without a deadlock', async () => {
    const shop = await fill(20)
    const events = await claim()
    const [first] = events.toSorted((a, b) => (a.id < b.id ? -1 : 1))
    if (first === undefined) throw new Error('not claimed')
    const waiting = () =>
      app.rows(
        `select pid from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'`,
      )
    const other = connect(app.connectionString)
    try {
      for (const work of [renewClaimed, releaseClaimed]) {
        let ended: Promise<unknown> = Promise.resolve()
        const closing = withTenant(app.db, { conferenceId: shop.conference }, async (trx) => {
          await lockClaimed(trx, [first])
          ended = work(other, events.toReversed(), 60)
          await expect.poll(waiting).toHaveLength(1)
          return lockClaimed(trx, events)
        })
        expect(await closing, work.name).toHaveLength(20)
        await ended
      }
    } finally {
      await other.destroy()
    }
  })

  it('finds the purchase by our own rows, of this conference only (D17)', async () => {
    await app.rows(`delete from stripe_events`)
    const [mine, theirs] = [await app.openWiredShop(), await app.openWiredShop()]
    const purchase = await mine.buy()
    const session = await mine.openSession(purchase.id)
    const hint = { metadata: { purchase_id: purchase.id } }
    for (const shop of [mine, theirs]) {
      await app.post(
        shop,
        eventOf('payment_intent.succeeded', { id: 'pi_1', object: 'payment_intent', ...hint }),
      )
      await app.post(shop, eventOf('checkout.session.completed', { id: session }))
    }
    const claimed = await claim()
    const purchasesOf = (shop: WiredShop) =>
      claimed
        .filter((event) => event.conferenceId === shop.conference)
        .map(({ purchaseId }) => purchaseId)
    expect(purchasesOf(mine)).toEqual([purchase.id, purchase.id])
    expect(purchasesOf(theirs)).toEqual([null, null])
  })
})

describe('events of one claim', () => {
  it('are grouped by purchase, or by payment while the purchase is unknown', async () => {
    const event = (id: string, more: Partial<ClaimedEvent>): ClaimedEvent => ({
      conferenceId: 'conf_1',
      id,
      createdAt: '2026-01-02 03:04:05+00',
      lane: 'purchase',
      type: 'refund.created',
      attempts: 1,
      objectId: null,
      paymentIntentId: null,
      purchaseId: null,
      mirrored: null,
      ...more,
    })
    const groups = groupByPurchase([
      event('a', { purchaseId: 'bp_1' }),
      event('b', { paymentIntentId: 'pi_1' }),
      event('c', { purchaseId: 'bp_1', paymentIntentId: 'pi_1' }),
      event('d', { paymentIntentId: 'pi_1' }),
      event('e', { purchaseId: 'bp_1', conferenceId: 'conf_2' }),
      event('f', {}),
    ])
    expect(groups.map((group) => group.map(({ id }) => id).join(''))).toEqual([
      'ac',
      'bd',
      'e',
      'f',
    ])
  })
})
