import { beforeAll, describe, expect, it } from 'vitest'
import { operationsOf } from '../../src/http/openapi/api-document.ts'
import { SCOPES, type Scope } from '../../src/shared/caller.ts'
import { inParallel } from '../../src/shared/in-parallel.ts'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
} from '../support/fixtures.ts'
import {
  type Answer,
  type Body,
  OPERATOR_KEY,
  type RequestOptions,
  startTestProcess,
  useTestApp,
} from '../support/test-app.ts'
import { openapiYaml } from '../support/validate-response.ts'
import { fillInbox, fillMirror, fillOutgoing, fillPublication } from './route-matrix-objects.ts'
import { kindOf, partsOf, ROUTES, type Route, WHO_MAY, type Who } from './route-table.ts'

// Every key looks up codes that do not exist, so the limit must not apply here.
const app = useTestApp({ env: { FAILED_LOOKUPS_PER_MINUTE: '100000' } })

const GUARDED = ROUTES.filter(({ who }) => who !== 'public' && who !== 'stripe')
/**
 * They show objects of the conference's own Stripe account, which is not there in these tests. What they show of
 * a shared account: test/reports/payout-report.test.ts.
 */
const ASK_STRIPE = new Set(['listPayouts', 'reconcilePayout', 'reportBalance'])
const OF_CONFERENCE = GUARDED.filter(({ path }) => path.includes('{conference}'))

const keys = {
  bare: '',
  revoked: '',
  sponsor: '',
  otherStaff: '',
  otherSponsor: '',
  scopes: new Map<Scope, string>(),
}
let slug = ''

beforeAll(async () => {
  const conference = await createConference(app)
  slug = conference.slug
  const sponsor = await createSponsor(app, conference)
  keys.bare = (await createStaffKey(app, conference, [])).key
  const revoked = await createStaffKey(app, conference, SCOPES)
  await app.request('DELETE', `${conference.path}/api-keys/${revoked.id}`)
  keys.revoked = revoked.key
  keys.sponsor = (await createSponsorKey(app, conference, sponsor.id)).key
  for (const scope of SCOPES) {
    keys.scopes.set(scope, (await createStaffKey(app, conference, [scope])).key)
  }
  const other = await createConference(app)
  const otherSponsor = await createSponsor(app, other)
  keys.otherStaff = (await createStaffKey(app, other, SCOPES)).key
  keys.otherSponsor = (await createSponsorKey(app, other, otherSponsor.id)).key
})

const TAKE_BODIES: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

/** Sends ids that do not exist and an empty body, so that nothing changes. */
function ask({ method, path }: Route, as: string | null, conference = slug): Promise<Answer<Body>> {
  const url = path.replace('{conference}', conference).replaceAll(/\{\w+\}/g, 'none')
  return app.request(method, url, { as, ...(TAKE_BODIES.has(method) ? { body: {} } : {}) })
}

const isFor = ({ who }: Route, caller: Scope | 'sponsor'): boolean =>
  who === 'authenticated' || (Array.isArray(who) && who.includes(caller))

const unauthenticated = { status: 401, body: { code: 'unauthenticated' } }
const forbidden = { status: 403, body: { code: 'forbidden' } }

/** A response without its request id. */
const withoutRequestId = ({ status, body }: Answer<Body>) => ({ status, ...body, request_id: '' })

/** `let in` if the route itself answered, else the reason of the refusal. */
function outcomeOf({ status, body }: Answer<Body>): string {
  // A sponsor creates its customer without a body. Then the request fails, because there is no Stripe.
  const isIn = body['code'] === 'stripe_unavailable'
  const keptOut = [401, 403, 429].includes(status) || (status >= 500 && !isIn)
  return keptOut ? `${status} ${String(body['code'])}` : 'let in'
}

// The requests mostly wait for Postgres. Fewer than the connections of the pool.
const CONCURRENCY = 6

const ofEach = <T>(routes: Route[], work: (route: Route) => Promise<T>) =>
  inParallel(routes, CONCURRENCY, work)

async function outcomes(key: string): Promise<Record<string, string>> {
  const found = await ofEach(GUARDED, async (route) => [route.id, outcomeOf(await ask(route, key))])
  return Object.fromEntries(found)
}

function expected(isAllowed: (route: Route) => boolean): Record<string, string> {
  return Object.fromEntries(
    GUARDED.map((route) => [route.id, isAllowed(route) ? 'let in' : '403 forbidden']),
  )
}

describe('who may call what', () => {
  it('is tested for every operation, as the routes declare it', () => {
    const ids = operationsOf(openapiYaml()).map(({ operation }) => operation.operationId)
    expect(Object.keys(WHO_MAY).toSorted()).toEqual(ids.toSorted())
    const rolesOf = (who: Who): { roles: string[]; scopes?: string[] } => {
      if (who === 'public') return { roles: ['anyone'] }
      if (who === 'stripe') return { roles: ['stripe'] }
      if (who === 'authenticated') return { roles: ['operator', 'staff', 'sponsor'] }
      if (who === 'operator') return { roles: ['operator'] }
      if (who === 'staff') return { roles: ['operator', 'staff'] }
      const scopes = who.filter((name) => name !== 'sponsor')
      const sponsors = who.includes('sponsor') ? ['sponsor'] : []
      return { roles: ['operator', 'staff', ...sponsors], scopes }
    }
    for (const { operation } of operationsOf(openapiYaml())) {
      const { operationId: id, 'x-access': access } = operation
      expect(access, id).toEqual(rolesOf(WHO_MAY[id] ?? 'public'))
    }
  })

  it('refuses requests without a key, and with an unknown or revoked one', async () => {
    for (const key of [null, 'sv_staff_unknown', keys.revoked]) {
      await ofEach(GUARDED, async (route) => {
        expect(await ask(route, key), route.id).toMatchObject(unauthenticated)
      })
    }
  })

  it('is declared by every route: the server refuses to start with a route without a rule', async () => {
    const starting = await startTestProcess(app.connectionString)
    try {
      const addRoute = () => starting.app.get('/open-by-mistake', () => 'hello')
      expect(addRoute).toThrow('Route GET /open-by-mistake has no access rule')
      // The pages of /docs get their rule from a flag, which is no longer set.
      const addPage = () => starting.app.get('/docs/open-by-mistake', () => 'hello')
      expect(addPage).toThrow('Route GET /docs/open-by-mistake has no access rule')
    } finally {
      await starting.close()
    }
  })

  it('lets anyone read public pages, and authenticates Stripe only by its signature', async () => {
    for (const route of ROUTES.filter(({ who, method }) => who === 'public' && method === 'GET')) {
      // A busy machine may need longer than the readiness check allows.
      await expect
        .poll(() => ask(route, null), { message: route.id })
        .toMatchObject({ status: 200 })
    }
    for (const route of ROUTES.filter(({ who }) => who === 'stripe')) {
      const refused = { status: 400, body: { code: 'invalid_signature' } }
      expect(await ask(route, OPERATOR_KEY), route.id).toMatchObject(refused)
    }
  })

  it('lets operators do everything', async () => {
    expect(await outcomes(OPERATOR_KEY)).toEqual(expected(() => true))
  })

  it.each(SCOPES)('lets staff with %s do only what the scope allows', async (scope) => {
    const key = keys.scopes.get(scope) ?? ''
    expect(await outcomes(key)).toEqual(
      expected((route) => route.who === 'staff' || isFor(route, scope)),
    )
  })

  it('lets staff without a scope read only the conference', async () => {
    expect(await outcomes(keys.bare)).toEqual(
      expected(({ who }) => who === 'staff' || who === 'authenticated'),
    )
  })

  it('lets sponsors do only what routes for sponsors allow', async () => {
    expect(await outcomes(keys.sponsor)).toEqual(expected((route) => isFor(route, 'sponsor')))
  })

  it('shows nothing to keys of another conference, not even that this one exists (D30)', async () => {
    await ofEach(OF_CONFERENCE, async (route) => {
      for (const key of [keys.otherStaff, keys.otherSponsor]) {
        const answer = withoutRequestId(await ask(route, key))
        expect(answer, route.id).toMatchObject({ status: 404, code: 'not_found' })
        expect(answer, route.id).toEqual(
          withoutRequestId(await ask(route, key, 'no-such-conference')),
        )
      }
    })
  })

  it('refuses operator routes to all keys of a conference', async () => {
    const routes = GUARDED.filter(({ who }) => who === 'operator')
    expect(routes.length).toBeGreaterThan(3)
    for (const route of routes) {
      for (const key of [keys.otherStaff, keys.otherSponsor]) {
        expect(await ask(route, key), route.id).toMatchObject(forbidden)
      }
    }
  })
})

/** One object of each kind. */
type World = { path: string; sponsorKey: string; ids: Record<string, string> }

async function make(path: string, kind: string, body: Body): Promise<string> {
  const answer = await app.request<Body>('POST', `${path}/${kind}`, { body })
  expect(answer.status, `${kind} ${JSON.stringify(answer.body)}`).toBeLessThan(300)
  return String(answer.body['id'])
}

async function makeWorld(): Promise<World> {
  // Without a Stripe key, so that these tests send no request to Stripe.
  const conference = await createConference(app, { stripe_secret_key: undefined })
  const { path } = conference
  return { path, ...(await fill(path, conference.id)) }
}

async function fill(path: string, conference: string): Promise<Omit<World, 'path'>> {
  const sponsor = (await createSponsor(app, { path })).id
  const item = { name: `Item of ${sponsor}`, price: 1_000, bulk_enabled: true }
  const batch = await make(path, 'voucher-batches', { count: 2, voucher_type: 'comp', sponsor })
  const codes = await app.request<{ data: { code: string }[] }>(
    'GET',
    `${path}/voucher-batches/${batch}/vouchers`,
  )
  const code = String(codes.body.data[0]?.code)
  await fillPublication(app, conference, batch)
  const customer = `cust_${sponsor}`
  await app.rows(
    `insert into customers (conference_id, id, sponsor_id, params, idempotency_key, created_by)
     values ($1, $2, $3, '{"name": "ACME", "email": null}', $2, 'key_1')`,
    [conference, customer, sponsor],
  )
  const charge = `chg_${sponsor}`
  await app.rows(
    `insert into charges (conference_id, id, customer_id, sponsor_id, amount, currency, description,
       created_by)
     values ($1, $2, $3, $4, 500, 'EUR', 'Booth', 'key_1')`,
    [conference, charge, customer, sponsor],
  )
  const plan = `plan_${sponsor}`
  await app.rows(
    `insert into billing_plans (conference_id, id, name, amount, currency, interval,
       interval_count, trial_period_days, metadata, created_by)
     values ($1, $2, 'Booth', 500, 'EUR', 'month', 1, 0, '{}', 'x')`,
    [conference, plan],
  )
  const subscription = `subs_${sponsor}`
  await app.rows(
    `insert into subscriptions (conference_id, id, customer_id, trial_period_days, metadata,
       created_by)
     values ($1, $2, $3, 0, '{}', 'x')`,
    [conference, subscription, customer],
  )
  const order = { sponsor, quantity: 2, unit_amount: 500, description: 'Seats' }
  const ids = {
    batch,
    charge,
    code,
    customer,
    payment_method: `pm_of_${sponsor}`,
    plan,
    purchase: await make(path, 'purchases', order),
    redemption: await make(path, `vouchers/${code}/redemptions`, { reference: 'order-1' }),
    sponsors: sponsor,
    subscription,
    'sponsor-levels': await make(path, 'sponsor-levels', { name: `Level of ${sponsor}` }),
    'ticket-types': await make(path, 'ticket-types', item),
    'add-ons': await make(path, 'add-ons', item),
    'api-keys': (await createStaffKey(app, { path }, [])).id,
    users: await make(path, 'users', { email: `${sponsor}@example.org`, role: 'sponsor', sponsor }),
    'webhook-secrets': await make(path, 'webhook-secrets', { secret: 'whsec_0123456789' }),
    ...(await fillOutgoing(app, conference, sponsor)),
    ...(await fillInbox(app, conference, sponsor)),
    ...(await fillMirror(app, conference, sponsor)),
  }
  await app.rows(
    `with payment as (
       insert into payments (conference_id, purchase_id, payment_intent_id, status, amount,
         amount_received, currency)
       values ($1, $2, 'pi_' || $2, 'succeeded', 5, 5, 'EUR') returning payment_intent_id)
     insert into purchase_flags (conference_id, purchase_id, code, fact, detail)
     select $1, $2, 'amount_mismatch', payment_intent_id, 'x' from payment`,
    [conference, ids.purchase],
  )
  return { ids, sponsorKey: (await createSponsorKey(app, { path }, sponsor)).key }
}

/** A valid body of the route and its type: its first example in openapi.yaml, or an empty one. */
function bodyOf({ template, method }: Route): Pick<RequestOptions, 'body' | 'headers'> {
  const operation = operationsOf(openapiYaml()).find(
    (one) => one.path === template && one.method === method.toLowerCase(),
  )?.operation
  const [[type, media] = ['application/json', undefined]] = Object.entries(
    operation?.requestBody?.content ?? {},
  )
  const [example] = Object.values(media?.examples ?? {})
  const value = example !== undefined && 'value' in example ? example.value : {}
  return { headers: { 'content-type': type }, body: media?.example ?? value }
}

describe('an object of another tenant', () => {
  let own: World
  let foreign: World
  let ownStaff = ''

  const withIds = OF_CONFERENCE.filter(
    (route) => kindOf(route) !== null && !ASK_STRIPE.has(route.id),
  )

  beforeAll(async () => {
    own = await makeWorld()
    foreign = await makeWorld()
    ownStaff = (await createStaffKey(app, own, SCOPES)).key
  })

  function askFor(route: Route, under: World, id: string, as: string): Promise<Answer<Body>> {
    const rest = route.path
      .replace('/v1/conferences/{conference}', '')
      .replace(/\{\w+\}/, id)
      // A dependent object is requested by its own id.
      .replaceAll(/\{(\w+)\}/g, (_, name: string) => under.ids[name] ?? '')
    const sent = TAKE_BODIES.has(route.method) ? bodyOf(route) : {}
    return app.request(route.method, `${under.path}${rest}`, { as, ...sent })
  }

  it('is in these tests for every route that has an id', () => {
    const kinds = new Set(withIds.flatMap((route) => [kindOf(route) ?? '', ...partsOf(route)]))
    expect(kinds).toEqual(new Set(Object.keys(foreign.ids)))
  })

  it('of another conference answers as if it did not exist', async () => {
    for (const route of withIds) {
      const id = foreign.ids[kindOf(route) ?? ''] ?? ''
      const answer = withoutRequestId(await askFor(route, own, id, ownStaff))
      expect(answer, route.id).toMatchObject({ status: 404, code: 'not_found' })
      const unknown = withoutRequestId(await askFor(route, own, 'none', ownStaff))
      expect(answer, route.id).toEqual(unknown)
    }
  })

  it('of another conference answers 404 under this one, also for operators', async () => {
    for (const route of withIds) {
      const id = foreign.ids[kindOf(route) ?? ''] ?? ''
      expect(await askFor(route, own, id, OPERATOR_KEY), route.id).toMatchObject({ status: 404 })
    }
  })

  it('of another conference is in no list and no report', async () => {
    const lists = OF_CONFERENCE.filter(
      (route) => route.method === 'GET' && kindOf(route) === null && !ASK_STRIPE.has(route.id),
    )
    expect(lists.length).toBeGreaterThan(10)
    for (const route of lists) {
      const { status, body } = await ask(route, ownStaff, own.path.split('/').at(-1))
      expect(status, route.id).toBe(200)
      const text = JSON.stringify(body)
      for (const id of Object.values(foreign.ids)) expect(text, route.id).not.toContain(id)
    }
  })

  it('of another sponsor is 404 for a sponsor, and in none of its lists (D29)', async () => {
    const neighbour = await fill(
      own.path,
      (await app.request('GET', own.path)).body['id'] as string,
    )
    const { purchase = '', batch = '', customer = '', code = '' } = neighbour.ids
    const theirs: Record<string, string> = { purchase, batch, customer, code }
    const routes = withIds.filter(
      (route) => isFor(route, 'sponsor') && (kindOf(route) ?? '') in theirs,
    )
    expect(routes.length).toBeGreaterThan(5)
    for (const route of routes) {
      const id = theirs[kindOf(route) ?? ''] ?? ''
      const answer = withoutRequestId(await askFor(route, own, id, own.sponsorKey))
      expect(answer, route.id).toEqual(
        withoutRequestId(await askFor(route, own, 'none', own.sponsorKey)),
      )
      expect(answer, route.id).toMatchObject({ status: 404 })
    }
    const lists = OF_CONFERENCE.filter((route) => route.method === 'GET' && isFor(route, 'sponsor'))
    for (const route of lists.filter((route) => kindOf(route) === null)) {
      const { status, body } = await ask(route, own.sponsorKey, own.path.split('/').at(-1))
      expect(status, route.id).toBe(200)
      const text = JSON.stringify(body)
      for (const id of Object.values(theirs)) expect(text, route.id).not.toContain(id)
    }
  })

  it('is visible to its own tenant, so that these tests can fail', async () => {
    // Routes that delete an object come last.
    const isEnd = ({ method }: Route) => Number(method === 'DELETE')
    for (const route of withIds.toSorted((a, b) => isEnd(a) - isEnd(b))) {
      const id = foreign.ids[kindOf(route) ?? ''] ?? ''
      const { status, body } = await askFor(route, foreign, id, OPERATOR_KEY)
      expect(status, `${route.id} ${JSON.stringify(body)}`).not.toBe(404)
    }
  })
})
