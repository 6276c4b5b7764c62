import { describe, expect, it } from 'vitest'
import type { ClaimedEvent } from '../../src/stripe-events/claim-events.ts'
import { createWorkQueue } from '../../src/stripe-events/event-worker.ts'
import { objectKey } from '../../src/stripe-events/group-events.ts'

function event(id: string, customer: string, conferenceId = 'conf_1'): ClaimedEvent {
  return {
    conferenceId,
    id,
    createdAt: '2026-01-02 03:04:05+00',
    lane: 'mirror',
    type: 'customer.updated',
    attempts: 1,
    objectId: customer,
    paymentIntentId: null,
    purchaseId: null,
    mirrored: { resource: 'customers', id: customer, after: 0 },
  }
}

const newQueue = () => createWorkQueue({ concurrency: 4, perConference: 3, keyOf: objectKey })

describe('a queued group of mirror events', () => {
  it('waits while its object is being fetched, and then starts immediately', () => {
    const queue = newQueue()
    queue.add([event('a', 'cus_1')])
    const first = queue.begin()
    queue.add([event('b', 'cus_1')])
    queue.add([event('c', 'cus_1')])
    expect(queue.begin()).toBeUndefined()
    expect(queue.wantsMore()).toBe(true)
    if (first !== undefined) queue.end(first)
    expect(queue.begin()?.events.map(({ id }) => id)).toEqual(['b', 'c'])
  })

  it('of one conference leaves slots for other conferences', () => {
    const queue = newQueue()
    for (const id of ['1', '2', '3', '4']) queue.add([event(id, `cus_${id}`)])
    queue.add([event('5', 'cus_1', 'conf_2')])
    const begun = Array.from({ length: 5 }, () => queue.begin()?.events[0]?.id)
    expect(begun).toEqual(['1', '2', '3', '5', undefined])
    expect(queue.busyConferences()).toEqual(['conf_1'])
    expect(queue.wantsMore()).toBe(false)
  })

  it('limits further claims while it may not run', () => {
    const queue = newQueue()
    queue.add([event('0', 'cus_1')])
    queue.begin()
    for (let i = 0; i < 200; i += 1) queue.add([event(String(i), 'cus_1')])
    expect(queue.wantsMore()).toBe(false)
    expect(queue.held()).toHaveLength(2)
    expect(queue.takeWaiting().map(({ events }) => events.length)).toEqual([200])
    expect(queue.held()).toHaveLength(1)
  })
})
