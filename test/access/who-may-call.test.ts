import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { SCOPES, type Scope } from '../../src/http/access-rule.ts'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
} from '../support/fixtures.ts'
import { OPERATOR_KEY, startTestProcess, useTestApp } from '../support/test-app.ts'

// Guesses of codes would be slowed down, which is not what is asked here.
const app = useTestApp({ env: { FAILED_LOOKUPS_PER_MINUTE: '10000' } })

const METHODS = ['GET', 'POST', 'PATCH', 'DELETE'] as const
type Method = (typeof METHODS)[number]
type Route = { method: Method; path: string; who: string[] }

function parseLine(line: string): Route {
  const [name, path, ...who] = line.split(/\s+/)
  const method = METHODS.find((known) => known === name)
  if (method === undefined || path === undefined || who.length === 0) {
    throw new Error(`who-may-call.txt: ${line}`)
  }
  return { method, path, who }
}

const ROUTES = readFileSync(new URL('who-may-call.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map(parseLine)

const isOpen = ({ who }: Route) => who.includes('anyone') || who.includes('stripe')
const needsKey = ROUTES.filter((route) => !isOpen(route))
const ofConference = needsKey.filter(({ path }) => path.includes('{conference}'))
const scopesOf = ({ who }: Route): Scope[] => SCOPES.filter((scope) => who.includes(scope))

let own: { id: string; path: string; slug: string }
const keys = { sponsor: '', none: '', revoked: '', foreignStaff: '', foreignSponsor: '' }
const keyOf = new Map<string, string>()

/** A key with exactly these scopes; made once. */
async function staffKey(scopes: readonly Scope[]): Promise<string> {
  const name = scopes.join()
  const key = keyOf.get(name) ?? (await createStaffKey(app, own, scopes)).key
  keyOf.set(name, key)
  return key
}

beforeAll(async () => {
  own = await createConference(app)
  const other = await createConference(app)
  keys.none = await staffKey([])
  keys.sponsor = (await createSponsorKey(app, own, (await createSponsor(app, own)).id)).key
  keys.foreignStaff = (await createStaffKey(app, other, SCOPES)).key
  const foreign = await createSponsor(app, other)
  keys.foreignSponsor = (await createSponsorKey(app, other, foreign.id)).key
  const revoked = await createStaffKey(app, own, SCOPES)
  await app.request('DELETE', `${own.path}/api-keys/${revoked.id}`)
  keys.revoked = revoked.key
})

/** The status of a call about an object that does not exist. */
async function call({ method, path }: Route, as: string | null): Promise<number> {
  const url = path.replace('{conference}', own.slug).replace(/\{\w+\}/g, 'none')
  const body = method === 'POST' || method === 'PATCH' ? { body: {} } : {}
  return (await app.request(method, url, { as, ...body })).status
}

/** What every one of the routes answers that does not answer as it should. */
async function exceptions(
  routes: Route[],
  as: (route: Route) => string | null | Promise<string>,
  isRight: (status: number, route: Route) => boolean,
): Promise<string[]> {
  const found: string[] = []
  for (const route of routes) {
    const status = await call(route, await as(route))
    if (!isRight(status, route)) found.push(`${route.method} ${route.path} answered ${status}`)
  }
  return found
}

const isLetIn = (status: number) => status !== 401 && status !== 403

describe('who may call a route', () => {
  it('is written down for exactly the routes of openapi.yaml', () => {
    const documented = Object.entries(inject('openapiYaml').paths).flatMap(([path, operations]) =>
      Object.keys(operations)
        .filter((name) => name !== 'parameters')
        .map((method) => `${method.toUpperCase()} ${path}`),
    )
    const written = ROUTES.map(({ method, path }) => `${method} ${path}`)
    expect(new Set(written)).toEqual(new Set(documented))
    expect(written).toHaveLength(new Set(written).size)
  })

  it('is nobody without a key, or with one that is unknown or revoked', async () => {
    for (const as of [null, 'sv_staff_unknown', keys.revoked]) {
      expect(
        await exceptions(
          needsKey,
          () => as,
          (status) => status === 401,
        ),
      ).toEqual([])
    }
  })

  it('is anyone for what is open', async () => {
    const open = ROUTES.filter(({ who }) => who.includes('anyone'))
    expect(await exceptions(open, () => null, isLetIn)).toEqual([])
  })

  it('is the operator for everything', async () => {
    expect(await exceptions(needsKey, () => OPERATOR_KEY, isLetIn)).toEqual([])
  })

  it('is a staff key without scopes only where any staff may', async () => {
    const isRight = (status: number, { who }: Route) =>
      who.includes('staff') ? isLetIn(status) : status === 403
    expect(await exceptions(needsKey, () => keys.none, isRight)).toEqual([])
  })

  it('is a staff key by each of the scopes that the route names', async () => {
    for (const scope of SCOPES) {
      const routes = needsKey.filter((route) => scopesOf(route).includes(scope))
      expect(await exceptions(routes, () => staffKey([scope]), isLetIn)).toEqual([])
    }
  })

  it('is no staff key with all the other scopes', async () => {
    const withoutThem = (route: Route) => {
      const named = scopesOf(route)
      return staffKey(SCOPES.filter((scope) => !named.includes(scope)))
    }
    const routes = needsKey.filter(({ who }) => !who.includes('staff'))
    expect(await exceptions(routes, withoutThem, (status) => status === 403)).toEqual([])
  })

  it('is a sponsor only where the table says so', async () => {
    const isRight = (status: number, { who }: Route) =>
      who.includes('sponsor') ? isLetIn(status) : status === 403
    expect(await exceptions(needsKey, () => keys.sponsor, isRight)).toEqual([])
  })

  it('is no key of another conference, for which this one does not exist', async () => {
    for (const as of [keys.foreignStaff, keys.foreignSponsor]) {
      expect(
        await exceptions(
          ofConference,
          () => as,
          (status) => status === 404,
        ),
      ).toEqual([])
    }
  })
})

it('a route without an access rule stops the server from starting', async () => {
  const starting = await startTestProcess(app.connectionString)
  try {
    const addRoute = () => starting.app.get('/open-by-mistake', () => 'hello')
    expect(addRoute).toThrow('Route GET /open-by-mistake has no access rule')
  } finally {
    await starting.close()
  }
})
