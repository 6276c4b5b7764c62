import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { useServices } from '../../main/run-service.ts'
import { createStaffKey } from '../../support/fixtures.ts'
import type { Body } from '../../support/test-app.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

// `scene.request` compares every response with openapi.yaml.

const scene = useSyncScene()
const start = useServices()
let shop: WiredShop
beforeEach(async () => {
  shop = await scene.openWiredShop()
})

type Run = Body & { id: string; state: string; resource: string }
type Problem = { code: string; detail: string; errors?: { pointer: string }[]; sync_run?: string }

const url = (path: string) => `${shop.path}/stripe/${path}`

const ask = <T = Run>(resource: string, body?: Body, headers: Record<string, string> = {}) =>
  scene.request<T>('POST', url(`${resource}/sync`), {
    headers,
    ...(body === undefined ? {} : { body }),
  })

const get = (id: string) => scene.request<Run>('GET', url(`sync-runs/${id}`))

const list = (query = '') =>
  scene.request<{ data: Run[]; has_more: boolean; next_cursor: string | null }>(
    'GET',
    url(`sync-runs${query}`),
  )

const cancel = <T = Run>(id: string) => scene.request<T>('POST', url(`sync-runs/${id}/cancel`))

describe('a run', () => {
  it('is accepted with its address and waits for a worker', async () => {
    const { status, body, headers } = await ask('customers')
    expect(status).toBe(202)
    expect(headers['location']).toBe(`${shop.path}/stripe/sync-runs/${body.id}`)
    const shown = await scene.request('GET', String(headers['location']))
    expect(shown).toMatchObject({
      status: 200,
      body: {
        object: 'sync_run',
        resource: 'customers',
        state: 'queued',
        started_by: 'api',
        ids: null,
        since: null,
        force: false,
        dry_run: false,
        requests: 0,
        error: null,
      },
    })
    expect(shown.body).toEqual(body)
  })

  it('keeps its options', async () => {
    const since = '2027-01-31T00:00:00.000Z'
    const asked = { ids: ['cus_1', 'cus_2'], since, force: true, dry_run: true }
    const { body } = await ask('customers', asked)
    expect((await get(body.id)).body).toMatchObject(asked)
  })

  it('is the same if the request is repeated with its idempotency key', async () => {
    const headers = { 'idempotency-key': randomUUID() }
    const first = await ask('coupons', {}, headers)
    const again = await ask('coupons', {}, headers)
    expect(again).toMatchObject({ status: 202, body: { id: first.body.id } })
    expect(again.headers['location']).toBe(first.headers['location'])
    expect((await list()).body.data).toHaveLength(1)
    expect(await ask('coupons', { force: true }, headers)).toMatchObject({ status: 422 })
  })

  it('is the only active one of its resource; the second request names it', async () => {
    const { body } = await ask('customers')
    const second = await ask<Problem>('customers', { dry_run: true })
    expect(second).toMatchObject({
      status: 409,
      body: { code: 'sync_running', detail: expect.stringContaining(body.id), sync_run: body.id },
    })
    expect((await ask('coupons')).status).toBe(202)
    await cancel(body.id)
    expect((await ask('customers')).status).toBe(202)
  })
})

describe('an invalid request', () => {
  it('is rejected with each id of another kind', async () => {
    const { status, body } = await ask<Problem>('customers', { ids: ['cus_1', 'pi_2', 'ch_3'] })
    expect({ status, code: body.code }).toEqual({ status: 400, code: 'validation_failed' })
    expect(body.errors?.map(({ pointer }) => pointer)).toEqual(['/ids/1', '/ids/2'])
    expect((await list()).body.data).toEqual([])
  })

  it.for([
    ['an unknown member', { forced: true }, '/forced'],
    ['an empty list of ids', { ids: [] }, '/ids'],
    ['no time', { since: 'yesterday' }, '/since'],
  ] as const)('is refused for %s', async ([, body, pointer]) => {
    const answer = await ask<Problem>('customers', body)
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
    expect(answer.body.errors?.map((error) => error.pointer)).toContain(pointer)
  })

  it('for an unknown resource lists the known ones', async () => {
    const { status, body } = await ask<Problem & { known_resources: string[] }>('customer')
    expect({ status, code: body.code }).toEqual({ status: 404, code: 'not_found' })
    expect(body.known_resources).toContain('customers')
  })

  it('does not find a run of another conference', async () => {
    const { body } = await ask('customers')
    const other = await scene.openWiredShop()
    const key = await createStaffKey(scene, other, ['stripe:sync'])
    const path = `${other.path}/stripe/sync-runs/${body.id}`
    expect(await scene.request('GET', path, { as: key.key })).toMatchObject({ status: 404 })
    expect(await scene.request('POST', `${path}/cancel`, { as: key.key })).toMatchObject({
      status: 404,
    })
  })
})

describe('cancelling', () => {
  it('ends a run immediately, and only once', async () => {
    const { body } = await ask('customers')
    const cancelled = await cancel(body.id)
    expect(cancelled).toMatchObject({
      status: 200,
      body: { state: 'cancelled', finished_at: expect.any(String) },
    })
    expect(await cancel<Problem>(body.id)).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state_now: 'cancelled' },
    })
    expect(await cancel<Problem>('sync_missing')).toMatchObject({ status: 404 })
  })
})

describe('the list of runs', () => {
  it('is sorted newest first, with pages, and can be filtered by resource and state', async () => {
    const first = (await ask('customers')).body.id
    await cancel(first)
    const second = (await ask('customers')).body.id
    const third = (await ask('coupons')).body.id
    const ids = async (query: string) => (await list(query)).body.data.map(({ id }) => id)
    expect(await ids('')).toEqual([third, second, first])
    expect(await ids('?resource=customers')).toEqual([second, first])
    expect(await ids('?state=cancelled')).toEqual([first])
    expect(await ids('?resource=coupons&state=cancelled')).toEqual([])
    const page = await list('?limit=2')
    expect(page.body).toMatchObject({ has_more: true })
    expect(await ids(`?limit=2&cursor=${page.body.next_cursor}`)).toEqual([first])
  })

  it('rejects unknown filters', async () => {
    expect(await list('?resource=customer')).toMatchObject({ status: 400 })
    expect(await list('?state=done')).toMatchObject({ status: 400 })
    expect(await list('?status=failed')).toMatchObject({ status: 400 })
  })
})

describe('a worker', () => {
  it('executes the run to its end', async () => {
    const ids = scene.fake.control.seedCustomers(shop.stripeKey, 230)
    const { body } = await ask('customers')
    await start({
      DATABASE_URL: scene.connectionString,
      STRIPE_API_BASE: scene.fake.url,
      RUN: 'work',
    })
    await expect.poll(async () => (await get(body.id)).body.state, POLL_OPTIONS).toBe('succeeded')
    expect((await get(body.id)).body).toMatchObject({
      counts: { fetched: 230, created: 230, updated: 0, unchanged: 0, deleted: 0, failed: 0 },
      requests: 3,
      duration_seconds: expect.any(Number),
      details: [],
    })
    const stored = await scene.stored(shop, 'customers')
    expect(stored.map(({ id }) => id)).toEqual(ids.toSorted())
  })
})
