import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { inParallel } from '../../src/shared/in-parallel.ts'
import type { Credential, DemoApi } from '../demo-api.ts'
import type { Environment } from '../environment.ts'
import { createBuyer, type Season } from './buyer.ts'
import { createCalendar } from './calendar.ts'
import { CATALOG, LEVELS, SPONSORS } from './cast.ts'
import { moveTimes } from './move-times.ts'
import { planSeason } from './plan.ts'

/** The conference that has six weeks of sales behind it. */
export const SEASON_CONFERENCE = { slug: 'webcamp', name: 'WebCamp 2027' }

/** Six weeks, with today. */
const DAYS = 42

const made = z.object({ id: z.string() })
const madeKey = z.object({ key: z.string() })

const ALL_SCOPES = [
  'settings:write',
  'keys:write',
  'catalog:write',
  'purchases:read',
  'purchases:write',
  'refunds:write',
  'vouchers:read',
  'vouchers:write',
  'vouchers:redeem',
  'stripe:sync',
  'billing:write',
]

/** The people of the demo, by what they open. */
export const PEOPLE = {
  operator: { email: 'olga@sponsor-vouchers.example', name: 'Olga Brandt' },
  staff: { email: 'grace@webcamp.example', name: 'Grace Kim' },
  sponsor: { email: 'ada@acme.example', name: 'Ada Vargas' },
} as const

type Scene = Pick<Environment, 'serviceUrl' | 'stripe' | 'operatorKey' | 'signIn'> & {
  api: DemoApi
  signal: AbortSignal
}

export type OpenedSeason = Season & { conferenceId: string }

/**
 * Creates the conference with its catalogue, sponsors, people and keys.
 *
 * @param otherPath of a conference that the sponsor's member may open too, if there is one.
 */
export async function openSeason(scene: Scene, otherPath?: string): Promise<OpenedSeason> {
  const { api, operatorKey, serviceUrl, stripe, signal } = scene
  const path = `/v1/conferences/${SEASON_CONFERENCE.slug}`
  const post = <T>(to: string, body: object, schema: z.ZodType<T>): Promise<T> =>
    api.look({ method: 'POST', path: to, as: operatorKey, body, expect: 201, schema })

  const account = stripe.control.createAccount({
    name: SEASON_CONFERENCE.name,
    country: 'DE',
    default_currency: 'eur',
    secretKey: `sk_test_demo${randomUUID().replaceAll('-', '')}`,
  })
  const { secret } = stripe.control.addWebhookEndpoint({
    account: account.id,
    url: `${serviceUrl}/webhooks/stripe/${SEASON_CONFERENCE.slug}`,
  })
  const conference = await post(
    '/v1/conferences',
    {
      ...SEASON_CONFERENCE,
      currency: 'EUR',
      stripe_secret_key: account.secretKey,
      stripe_webhook_secret: secret,
      bank_details: 'WebCamp e.V.\nIBAN DE02 1203 0000 0000 2020 51\nBIC BYLADEM1001',
    },
    made,
  )
  for (const level of LEVELS) await post(`${path}/sponsor-levels`, level, made)
  const items = new Map<string, string>()
  for (const { kind, name, price } of CATALOG) {
    const list = kind === 'ticket_type' ? 'ticket-types' : 'add-ons'
    const item = await post(`${path}/${list}`, { name, price, bulk_enabled: true }, made)
    items.set(name, item.id)
  }
  const sponsors = new Map<string, Credential>()
  await inParallel(SPONSORS, 4, async ({ slug, name, level }) => {
    const email = `accounts@${slug}.example`
    await post(`${path}/sponsors`, { slug, name, level, contact_email: email }, made)
    const key = { role: 'sponsor', sponsor: slug, name: `${name}, purchasing` }
    sponsors.set(slug, (await post(`${path}/api-keys`, key, madeKey)).key)
  })
  const shop = await post(
    `${path}/api-keys`,
    { role: 'staff', name: 'Ticket shop', scopes: ['vouchers:read', 'vouchers:redeem'] },
    madeKey,
  )
  await post('/v1/users', PEOPLE.operator, made)
  await post(`${path}/users`, { ...PEOPLE.staff, role: 'staff', scopes: ALL_SCOPES }, made)
  const member = { ...PEOPLE.sponsor, role: 'sponsor', sponsor: 'acme' }
  await post(`${path}/users`, member, made)
  if (otherPath !== undefined) await post(`${otherPath}/users`, member, made)
  // What people do is in the history under their names.
  sponsors.set('acme', await scene.signIn(PEOPLE.sponsor.email))
  const staff = await scene.signIn(PEOPLE.staff.email)
  return {
    conferenceId: conference.id,
    api,
    stripe,
    path,
    serviceUrl,
    staff,
    shop: shop.key,
    sponsors,
    items,
    signal,
  }
}

/**
 * Plays six weeks of sales: each purchase with real requests, its payments by the fake Stripe. At its end, their
 * times are moved into these weeks.
 *
 * @param onProgress called with the number of purchases that have begun.
 */
export async function playSeason(
  season: OpenedSeason,
  count: number,
  { asSuperuser }: Pick<Environment, 'asSuperuser'>,
  onProgress: (begun: number) => void,
): Promise<void> {
  const calendar = createCalendar(DAYS, new Date())
  const courses = planSeason(count, DAYS, (day) => calendar.isWorkday(day)).map((plan) => ({
    day: plan.day,
    course: plan.scenario.course(createBuyer(season, plan)),
  }))
  const days = await calendar.play(courses, onProgress)
  const ended = new Date()
  await asSuperuser((superuser) => moveTimes(superuser, season.conferenceId, days, ended))
}
