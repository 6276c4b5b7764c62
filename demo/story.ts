import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import {
  checkoutAnswer,
  purchaseSchema,
  transitionPage,
} from '../src/purchases/purchase-schemas.ts'
import { formatMoney } from '../src/shared/money.ts'
import { redemptionSchema, voucherPage, voucherSchema } from '../src/vouchers/voucher-schemas.ts'
import { type DemoApi, payInBrowser } from './demo-api.ts'
import { Mismatch, shortIds } from './narrator.ts'
import {
  type Bought,
  CONFERENCE,
  CURRENCY,
  PAID_BACK,
  PRICE,
  QUANTITY,
  type Scene,
  type Shop,
} from './scene.ts'
import { showMail, showWebhooks, watchPurchase } from './wait-for.ts'

/**
 * The whole story, each step checked.
 *
 * @returns the shop, to go on by hand.
 * @throws Mismatch at the first step that shows something else than it should.
 */
export async function tellStory(scene: Scene): Promise<Shop> {
  const shop = await openShop(scene)
  const order = await orderVouchers(scene, shop)
  await payOrder(scene, order)
  const seen = new Set<string>()
  const bought = await receiveCodes(scene, shop, order, seen)
  await redeemCode(scene, shop, bought.codes[0] ?? '')
  await refundSome(scene, shop, bought, seen)
  await refundAll(scene, shop, bought, seen)
  await tellHistory(scene, shop, bought)
  return shop
}

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
async function openShop(scene: Scene): Promise<Shop> {
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

type Order = { purchase: string; session: string; url: string }

/** The sponsor orders and is given the address of the payment page. */
async function orderVouchers({ api, narrator, ...scene }: Scene, shop: Shop): Promise<Order> {
  narrator.chapter(`Acme orders ${QUANTITY} vouchers`)
  const total = QUANTITY * PRICE
  const as = shop.sponsorKey
  const purchase = await api.call({
    method: 'POST',
    path: `${shop.path}/purchases`,
    as,
    body: { ticket_type: shop.ticketType, quantity: QUANTITY, reference: 'PO-2027-118' },
    expect: 201,
    schema: purchaseSchema,
  })
  narrator.check('status', purchase.status, 'PENDING')
  narrator.check('total', purchase.total_amount, total, formatMoney(total, CURRENCY))

  const backTo = `${scene.serviceUrl}/docs`
  const path = `${shop.path}/purchases/${purchase.id}`
  const { url, session_id: session } = await api.call({
    method: 'POST',
    path: `${path}/checkout`,
    as,
    body: { success_url: `${backTo}?paid={CHECKOUT_SESSION_ID}`, cancel_url: backTo },
    expect: 200,
    schema: checkoutAnswer,
  })
  if (url === null) throw new Mismatch('the checkout', 'the address of a payment page', url)
  const look = { method: 'GET', path, as, expect: 200, schema: purchaseSchema } as const
  narrator.check('status', (await api.look(look)).status, 'PROCESSING')
  narrator.check('payment page at', new URL(url).origin, scene.stripe.url, shortIds(url))
  return { purchase: purchase.id, session, url }
}

/** The payer fills in Stripe's page; the service hears nothing of it yet but by webhook. */
async function payOrder({ narrator, signal, serviceUrl }: Scene, order: Order): Promise<void> {
  narrator.chapter("Acme pays on Stripe's page, as a browser would")
  const paid = await payInBrowser(order.url, narrator, signal)
  const digits = (text: string) => text.replace(/[^0-9]/g, '')
  const total = formatMoney(QUANTITY * PRICE, CURRENCY)
  const button = /<button class="main"[^>]*>([^<]*)</.exec(paid.page)?.[1] ?? ''
  narrator.check('the page asks for', digits(button), digits(total), total)
  const back = `${serviceUrl}/docs?paid=${order.session}`
  narrator.check('and returns to', paid.returnedTo, back, shortIds(back))
}

// Money and codes are fake here; elsewhere a code is worth a ticket and is never shown.
const SHOWN = 2

/** The webhooks come in, the purchase is paid, the codes are there. */
async function receiveCodes(
  scene: Scene,
  shop: Shop,
  order: Order,
  seen: Set<string>,
): Promise<Bought> {
  const { api, narrator } = scene
  narrator.chapter('Stripe tells, the codes appear')
  const purchase = await watchPurchase(
    scene,
    shop,
    order.purchase,
    ({ status }) => status === 'PAID',
  )
  await showWebhooks(scene, shop, seen)
  narrator.check('status', purchase.status, 'PAID')
  const page = await api.call({
    method: 'GET',
    path: `${shop.path}/purchases/${order.purchase}/vouchers?limit=100`,
    as: shop.sponsorKey,
    expect: 200,
    schema: voucherPage,
  })
  const codes = page.data.map(({ code }) => code)
  narrator.check('different codes', new Set(codes).size, QUANTITY)
  narrator.check('of them valid', page.data.filter(({ valid }) => valid).length, QUANTITY)
  for (const code of codes.slice(0, SHOWN)) narrator.note(code)
  narrator.note(`${masked(codes[SHOWN] ?? '')}  and ${QUANTITY - SHOWN - 1} more`)
  await showMail(scene, purchase.id, `Your ${QUANTITY} voucher codes for DevConf are ready`)
  return { purchase, codes }
}

const masked = (code: string) => code.replace(/[^-]+$/, (secret) => '•'.repeat(secret.length))

/** What the API says when a code cannot be redeemed. */
const refusal = z.object({ code: z.string(), invalid_reason: z.string() })

/** The ticket shop redeems a code, repeats itself, and then tries to use it for another order. */
async function redeemCode({ api, narrator }: Scene, shop: Shop, code: string): Promise<void> {
  narrator.chapter('Somebody redeems a code')
  const path = `${shop.path}/vouchers/${code}`
  const redemption = { method: 'POST', path: `${path}/redemptions`, as: shop.staffKey } as const
  const ask = (reference: string) => ({ ...redemption, body: { reference } })

  const first = await api.call({ ...ask('order-1001'), expect: 201, schema: redemptionSchema })
  narrator.check('redeemed for', first.reference, 'order-1001')

  const again = await api.call({ ...ask('order-1001'), expect: 200, schema: redemptionSchema })
  narrator.check('again: the same redemption', again.id, first.id, shortIds(again.id))
  const look = { method: 'GET', path, as: shop.staffKey, expect: 200 } as const
  const voucher = await api.look({ ...look, schema: voucherSchema })
  narrator.check('uses', voucher.times_used, 1, `${voucher.times_used} of ${voucher.max_uses}`)

  const other = await api.call({ ...ask('order-1002'), expect: 409, schema: refusal })
  narrator.check('for another order: refused', other.invalid_reason, 'used_up')
}

/** Staff pays some codes back; as many that nobody used go off, and the used one stays. */
async function refundSome(
  scene: Scene,
  shop: Shop,
  { purchase, codes }: Bought,
  seen: Set<string>,
): Promise<void> {
  const { api, narrator } = scene
  narrator.chapter(`${PAID_BACK} vouchers too many: a partial refund`)
  const amount = PAID_BACK * PRICE
  const path = `${shop.path}/purchases/${purchase.id}`
  const as = shop.staffKey
  const refund = { method: 'POST', path: `${path}/refund`, as, body: { amount } } as const
  await api.call({ ...refund, expect: 200, schema: purchaseSchema })
  const now = await watchPurchase(
    scene,
    shop,
    purchase.id,
    ({ amount_refunded, vouchers }) =>
      amount_refunded === amount && vouchers.deactivated === PAID_BACK,
  )
  await showWebhooks(scene, shop, seen)
  narrator.check('status', now.status, 'PAID')
  narrator.check('paid back', now.amount_refunded, amount, formatMoney(amount, CURRENCY))
  narrator.check('codes turned off', now.vouchers.deactivated, PAID_BACK)
  narrator.check('codes still good', now.vouchers.remaining, QUANTITY - PAID_BACK - 1)
  const query = { method: 'GET', path: `${path}/vouchers?limit=100`, as, expect: 200 } as const
  const page = await api.look({ ...query, schema: voucherPage })
  const used = page.data.find(({ code }) => code === codes[0])
  narrator.check('the redeemed code', used?.state, 'active', 'untouched')
}

/** Staff pays everything back; every code is dead. */
async function refundAll(
  scene: Scene,
  shop: Shop,
  { purchase, codes }: Bought,
  seen: Set<string>,
): Promise<void> {
  const { api, narrator } = scene
  narrator.chapter('Acme cancels: a full refund')
  const total = QUANTITY * PRICE
  const path = `${shop.path}/purchases/${purchase.id}/refund`
  const refund = { method: 'POST', path, as: shop.staffKey, body: {} } as const
  await api.call({ ...refund, expect: 200, schema: purchaseSchema })
  const now = await watchPurchase(scene, shop, purchase.id, ({ status }) => status === 'REFUNDED')
  await showWebhooks(scene, shop, seen)
  narrator.check('status', now.status, 'REFUNDED')
  narrator.check('paid back', now.amount_refunded, total, formatMoney(total, CURRENCY))
  narrator.check('codes still on', now.vouchers.active, 0, 'none')
  narrator.check('codes turned off', now.vouchers.deactivated, QUANTITY)
  const code = codes[1] ?? ''
  const dead = await api.call({
    method: 'POST',
    path: `${shop.path}/vouchers/${code}/redemptions`,
    as: shop.staffKey,
    body: { reference: 'order-1003' },
    expect: 409,
    schema: refusal,
  })
  narrator.check('redeeming one: refused', dead.invalid_reason, 'deactivated')
}

const EXPECTED = [
  'PENDING → PROCESSING  CHECKOUT_OPENED',
  'PROCESSING → PAID  PAYMENT_SUCCEEDED',
  'PAID → PAID  PARTIALLY_REFUNDED',
  'PAID → REFUNDED  REFUNDED',
]

/** The purchase's own account of what happened: each step once, however often Stripe told of it. */
async function tellHistory(
  { api, narrator }: Scene,
  shop: Shop,
  { purchase }: Bought,
): Promise<void> {
  narrator.chapter('What the purchase remembers')
  const { data } = await api.call({
    method: 'GET',
    path: `${shop.path}/purchases/${purchase.id}/transitions`,
    as: shop.staffKey,
    expect: 200,
    schema: transitionPage,
  })
  const steps = data.toReversed()
  for (const { created_at, event, from, to, actor } of steps) {
    const move = `${from} → ${to}`
    narrator.note(`${created_at.slice(11, 23)}  ${move.padEnd(22)}${event.padEnd(20)}${actor.kind}`)
  }
  const told = steps.map(({ event, from, to }) => `${from} → ${to}  ${event}`)
  narrator.check('every step, and each once', told, EXPECTED, `${told.length} steps`)
}
