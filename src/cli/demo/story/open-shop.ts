import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { formatMoney } from '../../../shared/money.ts'
import type { DemoApi } from '../demo-api.ts'
import { CONFERENCE, CURRENCY, PRICE, type Scene, type Shop } from './scene.ts'

const made = z.object({ id: z.string() })
const madeKey = z.object({ id: z.string(), key: z.string() })

// Enough to try everything by hand afterwards, but for what changes keys and settings.
const STAFF_SCOPES = [
  'billing:write',
  'catalog:write',
  'purchases:read',
  'purchases:write',
  'refunds:write',
  'stripe:sync',
  'vouchers:read',
  'vouchers:write',
  'vouchers:redeem',
]

/** Makes the conference, a sponsor, what it may buy, and a key for each side. */
export async function openShop(scene: Scene): Promise<Shop> {
  const { api, narrator, operatorKey } = scene
  narrator.chapter('A conference opens its shop')
  const path = `/v1/conferences/${CONFERENCE}`
  const { account, ...secrets } = openAccount(scene)
  const post = poster(api, operatorKey)
  const conference = await post(
    '/v1/conferences',
    { slug: CONFERENCE, name: 'DevConf', currency: CURRENCY, ...secrets },
    z.object({ currency: z.string(), livemode: z.boolean().nullable() }),
  )
  const isTest = { currency: CURRENCY, livemode: false }
  narrator.check('a conference in test mode', conference, isTest, CURRENCY)
  const sponsor = await post(
    `${path}/sponsors`,
    { name: 'Acme Robotics', slug: 'acme', contact_email: 'ada@acme.example' },
    made.extend({ slug: z.string() }),
  )
  narrator.check('a sponsor', sponsor.slug, 'acme')
  const ticket = await post(
    `${path}/ticket-types`,
    { name: 'Conference pass', price: PRICE, bulk_enabled: true },
    made.extend({ price: z.int() }),
  )
  const price = formatMoney(ticket.price, CURRENCY)
  narrator.check('a ticket that it may buy in bulk', ticket.price, PRICE, price)
  const forSponsor = { role: 'sponsor', sponsor: 'acme', name: 'Acme, purchasing' }
  const sponsorKey = await post(`${path}/api-keys`, forSponsor, madeKey)
  const forStaff = { role: 'staff', scopes: STAFF_SCOPES, name: 'Staff' }
  const staffKey = await post(`${path}/api-keys`, forStaff, madeKey)
  return {
    path,
    account,
    sponsorKey: sponsorKey.key,
    staffKey: staffKey.key,
    ticketType: ticket.id,
  }
}

function poster(api: DemoApi, as: string) {
  return <T>(path: string, body: object, schema: z.ZodType<T>): Promise<T> =>
    api.call({ method: 'POST', path, as, body, expect: 201, schema })
}

/** What somebody would do in Stripe's dashboard: copy a key, add the webhook endpoint. */
function openAccount({ stripe: { control }, serviceUrl }: Scene) {
  const { id, secretKey } = control.createAccount({
    name: 'DevConf',
    country: 'DE',
    default_currency: CURRENCY.toLowerCase(),
    secretKey: `sk_test_demo${randomUUID().replaceAll('-', '')}`,
  })
  const url = `${serviceUrl}/webhooks/stripe/${CONFERENCE}`
  const { secret } = control.addWebhookEndpoint({ account: id, url })
  return { account: id, stripe_secret_key: secretKey, stripe_webhook_secret: secret }
}
