import { beforeAll, describe, expect, it } from 'vitest'
import type { ColumnType } from '../../src/mirror/mirror-column.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { tableOf } from '../../src/mirror/stripe-resource.ts'
import { type MirrorReader, readerOf } from './mirror-reader.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
let mirror: MirrorReader
beforeAll(async () => {
  shop = await scene.openWiredShop()
  mirror = readerOf(scene, shop)
})

/** For each type that lists can be filtered by: a value that no object of these tests has. */
const OTHER_VALUES: { [Type in ColumnType]?: string } = {
  text: 'no such',
  bigint: '-77',
  boolean: 'true',
}

describe('every resource', () => {
  it.each(ALL_RESOURCES.map((resource) => [resource.name, resource] as const))(
    'has its own rows and filters: %s',
    async (name, resource) => {
      const id = `${resource.idPrefixes[0] ?? 'free_'}mirrored1`
      const object = resource.objects[0] ?? ''
      const given = { id, object, created: 1_700_000_000, client_secret: 'x_secret_y' }
      await mirror.store(name, [given])
      const { status, body } = await mirror.get(name, id)
      expect({ status, body }).toMatchObject({ status: 200, body: { id, object } })
      expect(body).not.toHaveProperty('data.client_secret')
      expect(Object.keys(body)).toEqual([
        'id',
        'object',
        'livemode',
        'as_of',
        'deleted_at',
        'created',
        ...Object.keys(resource.columns),
        'metadata',
        'data',
      ])
      expect(await mirror.ids(name)).toContain(id)
      for (const [column, { type }] of Object.entries(resource.columns)) {
        const value = OTHER_VALUES[type]
        const found = value === undefined ? [] : await mirror.ids(name, { [column]: value })
        expect(found, column).toEqual([])
      }
    },
  )

  it.each(ALL_RESOURCES.map((resource) => [resource.name, resource] as const))(
    'shows decimals of %s without rounding',
    async (name, resource) => {
      const decimals = Object.entries(resource.columns).filter(([, { type }]) => type === 'numeric')
      const id = `${resource.idPrefixes[0] ?? 'free_'}decimals`
      await mirror.store(name, [{ id, object: resource.objects[0] ?? '' }])
      for (const [column] of decimals) {
        const isText = column.endsWith('_decimal')
        const exact = isText ? '12345678901234567890.123456789012' : '33.3333'
        await scene.rows(
          `update ${tableOf(resource)} set "${column}" = ${exact}
           where conference_id = $1 and id = $2`,
          [shop.conference, id],
        )
        const { body } = await mirror.get(name, id)
        expect(body[column], column).toBe(isText ? exact : 33.3333)
      }
    },
  )
})

describe('an unknown resource', () => {
  const known = ALL_RESOURCES.map(({ name }) => name)

  it.each([
    ['GET', 'nonsense'],
    ['GET', 'nonsense/x_1'],
    ['GET', 'Customers'],
    ['GET', '(%3A%2F%5B'],
    ['POST', 'nonsense/sync'],
  ] as const)('is 404 with the list of those that are known: %s %s', async (method, rest) => {
    const { status, body } = await scene.request(
      method,
      `${shop.path}/stripe/${rest}`,
      method === 'POST' ? { body: {} } : {},
    )
    expect({ status, body }).toMatchObject({
      status: 404,
      body: { code: 'not_found', known_resources: known },
    })
    for (const name of known) expect(body['detail']).toContain(name)
  })

  it.each([
    ['GET', 'events/evt_1/nothing', 404, 'There is no such path.'],
    ['GET', '', 404, 'There is no such path.'],
    ['DELETE', 'coupons', 405, 'This path supports GET, HEAD, POST, not DELETE.'],
    ['POST', 'events', 405, 'This path supports GET, HEAD, not POST.'],
  ] as const)('is not what is wrong with %s /stripe/%s', async (method, rest, status, detail) => {
    const answer = await scene.request(method, `${shop.path}/stripe/${rest}`)
    expect(answer).toMatchObject({ status, body: { detail } })
    expect(answer.body).not.toHaveProperty('known_resources')
  })

  it('does not affect paths that are not resources', async () => {
    expect(await scene.request('GET', `${shop.path}/stripe/events`)).toMatchObject({ status: 200 })
  })
})
