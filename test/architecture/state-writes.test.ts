import { describe, expect, expectTypeOf, it } from 'vitest'
import type { updateOrder } from '../../src/purchases/purchase-store.ts'
import { readSourceTree } from './source-tree.ts'
import { namesState, setsColumn, updatesOf } from './state-writes.ts'

const probe = (text: string) => new Map([['src/probe.ts', text]])

describe('the status of a purchase', () => {
  it('is saved by one function only', async () => {
    const writes = updatesOf(await readSourceTree('src'), 'bulk_purchases')
    const ofStatus = writes.filter((write) => setsColumn(write, 'status'))
    expect(ofStatus.map(({ file }) => file)).toEqual(['src/purchases/change-purchase.ts'])
    expect(ofStatus[0]?.text).toContain('p.status = :from')
  })

  it('is no field of an order that a person changes', () => {
    expectTypeOf<Parameters<typeof updateOrder>[2]>().not.toHaveProperty('status')
  })

  it.each([
    `trx('bulk_purchases').where({ id }).update({ status: 'PAID' })`,
    `trx('bulk_purchases').where({ id }).update('status', 'PAID')`,
    `trx('bulk_purchases')\n  .where({ id })\n  .update({ ...changes, status })`,
    'trx.raw(`update bulk_purchases set status = :status where id = :id`)',
    'trx.raw(`with x as (\n update bulk_purchases p set updated_at = now(), status = 1 where true)`)',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a text of a program
    'trx.raw(`update bulk_purchases set ${ASSIGNMENTS} where id = :id`)',
  ])('would be found in %s', (text) => {
    const writes = updatesOf(probe(text), 'bulk_purchases')
    expect(writes.map((write) => setsColumn(write, 'status'))).toEqual([true])
  })

  it.each([
    `trx('bulk_purchases').where({ status: 'PAID' }).update({ quantity })`,
    'trx.raw(`update bulk_purchases set reconcile_ticket = 1 where status = :status`)',
  ])('is not written by %s', (text) => {
    const writes = updatesOf(probe(text), 'bulk_purchases')
    expect(writes.map((write) => setsColumn(write, 'status'))).toEqual([false])
  })
})

describe('each write of a payment attempt', () => {
  it('names the states from which it may come', async () => {
    const writes = updatesOf(await readSourceTree('src'), 'payment_attempts')
    expect(writes.filter((write) => !namesState(write))).toEqual([])
    expect(writes.length).toBeGreaterThanOrEqual(3)
  })

  it.each([
    `trx('payment_attempts').where({ attempt }).update({ state })`,
    `trx('payment_attempts')\n  .where({ attempt })\n  .update({ url })`,
    'trx.raw(`update payment_attempts set state = :state where attempt = :attempt`)',
  ])('would be missed in %s', (text) => {
    expect(updatesOf(probe(text), 'payment_attempts').map(namesState)).toEqual([false])
  })

  it.each([
    `trx('payment_attempts').where({ attempt, state: 'creating' }).update({ url })`,
    `trx('payment_attempts').where({ attempt }).whereIn('state', from).update({ state })`,
    'trx.raw(`update payment_attempts a set state = c.state where a.state = c.from_state`)',
  ])('is accepted in %s', (text) => {
    expect(updatesOf(probe(text), 'payment_attempts').map(namesState)).toEqual([true])
  })
})
