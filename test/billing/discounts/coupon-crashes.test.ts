import { afterEach, describe, expect, it } from 'vitest'
import { resumeDiscountChange } from '../../../src/billing/discounts/finish-discount-change.ts'
import { sweepBilling } from '../../../src/billing/sweep-billing.ts'
import { withSystem } from '../../../src/db/tenant-scope.ts'
import { unique } from '../../support/fixtures.ts'
import { useCouponScene } from './coupon-scene.ts'

const scene = useCouponScene()
afterEach(() => {
  scene.fake.control.clearFaults()
  scene.fake.control.clearRequests()
})

const once = (key: string) => ({ headers: { 'idempotency-key': key } })
const PATH = '/v1/coupons'

const couponsNamed = async (name: string) => {
  const { data } = await scene.dashboard.coupons.list({ limit: 100 })
  return data.filter((coupon) => coupon.name === name)
}

describe('a coupon whose creation was interrupted', () => {
  it.each(['cut', 'status_500'] as const)(
    'F8: is finished by a repeat under the same key and created once, after %s',
    async (how) => {
      const name = unique('interrupted')
      const order = [{ percent_off: 10, name }, once(unique('key'))] as const
      const action = { kind: 'fail_after', how } as const
      scene.fake.control.injectFault({ method: 'POST', path: PATH, times: 'always', action })
      const lost = await scene.create(...order)
      expect(lost.status).toBeGreaterThanOrEqual(500)
      scene.fake.control.clearFaults()
      const { status, body } = await scene.create(...order)
      expect(status).toBe(201)
      expect(body).toMatchObject({ name, deleted_at: null })
      expect(await couponsNamed(name)).toHaveLength(1)
      expect((await scene.create(...order)).body).toEqual(body)
      expect(await couponsNamed(name)).toHaveLength(1)
    },
  )

  it('F7: fails with 503 when Stripe cannot be reached; a repeat creates it', async () => {
    const name = unique('unreached')
    const order = [{ percent_off: 10, name }, once(unique('key'))] as const
    const action = { kind: 'cut' } as const
    scene.fake.control.injectFault({ method: 'POST', path: PATH, times: 'always', action })
    expect(await scene.create(...order)).toMatchObject({
      status: 503,
      body: { code: 'stripe_unavailable' },
    })
    expect(await couponsNamed(name)).toHaveLength(0)
    scene.fake.control.clearFaults()
    expect((await scene.create(...order)).status).toBe(201)
    expect(await couponsNamed(name)).toHaveLength(1)
  })

  it('is found by its id after Stripe has forgotten the key', async () => {
    const id = unique('FORGOTTEN')
    const order = [{ id, percent_off: 10 }, once(unique('key'))] as const
    const action = { kind: 'fail_after' } as const
    scene.fake.control.injectFault({ method: 'POST', path: PATH, times: 'always', action })
    await scene.create(...order)
    scene.fake.control.clearFaults()
    // After a day, the fake forgets its keys as Stripe does.
    scene.fake.control.clock.advance(25 * 3_600)
    scene.fake.control.clearRequests()
    expect(await scene.create(...order)).toMatchObject({ status: 201, body: { id } })
    expect(scene.fake.control.requests({ method: 'POST', path: PATH })).toEqual([])
  })

  it('is shown with its present state when Stripe replays its first response', async () => {
    const id = unique('REPEATED')
    const order = [{ id, percent_off: 10, name: 'First' }, once(unique('key'))] as const
    const action = { kind: 'fail_after' } as const
    scene.fake.control.injectFault({ method: 'POST', path: PATH, times: 'always', action })
    await scene.create(...order)
    scene.fake.control.clearFaults()
    await scene.dashboard.coupons.update(id, { name: 'Second' })
    expect(await scene.create(...order)).toMatchObject({ status: 201, body: { name: 'Second' } })
  })
})

it('F8: a change whose outcome is unknown is applied once by its repeat', async () => {
  const { body } = await scene.create({ percent_off: 10 })
  const id = String(body['id'])
  const change = [id, { name: 'Changed' }, once(unique('key'))] as const
  const action = { kind: 'fail_after' } as const
  scene.fake.control.injectFault({
    method: 'POST',
    path: `${PATH}/*`,
    times: 'always',
    action,
  })
  expect((await scene.update(...change)).status).toBe(503)
  scene.fake.control.clearFaults()
  expect(await scene.update(...change)).toMatchObject({ status: 200, body: { name: 'Changed' } })
  const updates = scene.fake.control
    .events({ account: scene.shop.stripeKey, type: 'coupon.updated' })
    .filter(({ data }) => JSON.stringify(data).includes(id))
  expect(updates).toHaveLength(1)
})

describe('an unfinished change of a coupon (issue 8, line 28)', () => {
  const lose = (path: string) =>
    scene.fake.control.injectFault({
      method: 'POST',
      path,
      times: 'always',
      action: { kind: 'fail_after' },
    })
  const changes = (id: string) =>
    scene.rows<{ id: string; action: string; state: string }>(
      `select id, action, state from discount_changes where object_id = $1 order by created_at, id`,
      [id],
    )
  const heal = async (change: string) => {
    // Minutes later, after the job has used up its attempts.
    await scene.rows(
      `update discount_changes set updated_at = now() - interval '1 hour' where id = $1`,
      [change],
    )
    const key = `finish_discount_change:${change}`
    await scene.rows(`select graphile_worker.remove_job($1)`, [key])
    await withSystem(scene.db, 'timers', (trx) => sweepBilling(trx, 120))
    expect(await scene.rows(`select from graphile_worker.jobs where key = $1`, [key])).toHaveLength(
      1,
    )
    await resumeDiscountChange(scene.deps, scene.shop.conference, change)
  }

  it('is made by the timer', async () => {
    const id = unique('HEALED')
    lose(PATH)
    expect((await scene.create({ id, percent_off: 10 })).status).toBe(503)
    scene.fake.control.clearFaults()
    const [creation] = await changes(id)
    expect(creation?.state).toBe('requested')
    await heal(creation?.id ?? '')
    expect(await changes(id)).toMatchObject([{ state: 'accepted' }])
    expect(await scene.read(id)).toMatchObject({ status: 200, body: { percent_off: 10 } })

    lose(`${PATH}/*`)
    expect((await scene.update(id, { name: 'Healed' })).status).toBe(503)
    scene.fake.control.clearFaults()
    const [, update] = await changes(id)
    await heal(update?.id ?? '')
    expect(await scene.read(id)).toMatchObject({ body: { name: 'Healed' } })
    expect(await changes(id)).toMatchObject([{ state: 'accepted' }, { state: 'accepted' }])
  })

  it('does not undo a later change', async () => {
    const { body } = await scene.create({ percent_off: 10, name: 'First' })
    const id = String(body['id'])
    const path = `${PATH}/*`
    const cut = { kind: 'cut' } as const
    scene.fake.control.injectFault({ method: 'POST', path, times: 'always', action: cut })
    expect((await scene.update(id, { name: 'Second' })).status).toBe(503)
    scene.fake.control.clearFaults()
    expect((await scene.update(id, { name: 'Third' })).status).toBe(200)
    const [, second] = await changes(id)
    await heal(second?.id ?? '')
    expect(await scene.read(id)).toMatchObject({ body: { name: 'Third' } })
    expect(await changes(id)).toMatchObject([{}, { state: 'refused' }, { state: 'accepted' }])
  })
})

it('F20: a deletion that Stripe did not confirm is finished by a repeat', async () => {
  const { body } = await scene.create({ percent_off: 10 })
  const id = String(body['id'])
  scene.fake.control.injectFault({
    method: 'DELETE',
    path: `${PATH}/*`,
    times: 'always',
    action: { kind: 'fail_after' },
  })
  expect((await scene.remove(id)).status).toBe(503)
  scene.fake.control.clearFaults()
  expect(await scene.remove(id)).toMatchObject({
    status: 200,
    body: { id, deleted_at: expect.any(String) },
  })
})

it('two concurrent requests with one id create one coupon', async () => {
  const id = unique('TWICE')
  const answers = await Promise.all([
    scene.create({ id, percent_off: 10 }),
    scene.create({ id, percent_off: 20 }),
  ])
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409])
  const [made] = answers.filter(({ status }) => status === 201)
  expect((await scene.read(id)).body['percent_off']).toBe(made?.body['percent_off'])
})
