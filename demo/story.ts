import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { checkoutAnswer } from '../src/payments/checkout-schemas.ts'
import { transitionPage } from '../src/purchases/purchase-history-schemas.ts'
import { purchaseSchema } from '../src/purchases/purchase-schemas.ts'
import { formatMoney } from '../src/shared/money.ts'
import { redemptionSchema, voucherPage, voucherSchema } from '../src/vouchers/voucher-schemas.ts'
import { type DemoApi, payInBrowser } from './demo-api.ts'
import { Mismatch, shortIds } from './narrator.ts'
import {
  CONFERENCE,
  CURRENCY,
  type PaidPurchase,
  PRICE,
  QUANTITY,
  REFUNDED_QUANTITY,
  type Shop,
  type StoryContext,
} from './story-context.ts'
import { showMail, showOutbound, showWebhooks, watchPurchase } from './wait-for.ts'

/**
 * Runs the whole story and checks each step.
 *
 * @returns the conference with its keys, for requests by hand.
 * @throws Mismatch at the first step with an unexpected result.
 */
export async function runStory(scene: StoryContext): Promise<Shop> {
  const outbound: string[] = []
  scene.receiver.onEvent(({ type }) => outbound.push(type))
  const shop = await openShop(scene)
  const order = await orderVouchers(scene, shop)
  await payOrder(scene, order)
  const seen = new Set<string>()
  const bought = await receiveCodes(scene, shop, order, seen)
  await showOutbound(scene, outbound, ['purchase.paid', 'vouchers.issued'])
  await redeemCode(scene, shop, bought.codes[0] ?? '')
  await refundSome(scene, shop, bought, seen)
  await refundAll(scene, shop, bought, seen)
  await showOutbound(scene, outbound, ['purchase.refunded', 'vouchers.deactivated'])
  await showHistory(scene, shop, bought)
  return shop
}

const made = z.object({ id: z.string() })
const madeKey = z.object({ id: z.string(), key: z.string() })

// All scopes except those that change keys and settings.
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

/** Creates the conference, a sponsor, a ticket type, and a key for the sponsor and for staff. */
async function openShop(scene: StoryContext): Promise<Shop> {
  const { api, narrator, operatorKey } = scene
  narrator.chapter('A conference sets up its shop')
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
  narrator.check('a ticket type for bulk purchases', ticket.price, PRICE, price)
  const endpoint = await post(
    `${path}/webhook-endpoints`,
    { url: scene.receiver.url, description: 'The receiver of the demo' },
    z.object({ secret: z.string(), enabled: z.boolean() }),
  )
  scene.receiver.useSecret(endpoint.secret)
  narrator.check('an endpoint for its own webhooks', endpoint.enabled, true, scene.receiver.url)
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

/** The steps of Stripe's dashboard: copy the secret key, add the webhook endpoint. */
function openAccount({ stripe: { control }, serviceUrl }: StoryContext) {
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

/** The sponsor orders vouchers and opens a payment page. */
async function orderVouchers(
  { api, narrator, ...scene }: StoryContext,
  shop: Shop,
): Promise<Order> {
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
  narrator.check('payment page', new URL(url).origin, scene.stripe.url, shortIds(url))
  return { purchase: purchase.id, session, url }
}

/** The payer pays on Stripe's page; the service learns of the payment by webhook. */
async function payOrder(
  { narrator, signal, serviceUrl }: StoryContext,
  order: Order,
): Promise<void> {
  narrator.chapter("Acme pays on Stripe's page, like a browser")
  const paid = await payInBrowser(order.url, narrator, signal)
  const digits = (text: string) => text.replace(/[^0-9]/g, '')
  const total = formatMoney(QUANTITY * PRICE, CURRENCY)
  const button = /<button class="main"[^>]*>([^<]*)</.exec(paid.page)?.[1] ?? ''
  narrator.check('amount on the page', digits(button), digits(total), total)
  const back = `${serviceUrl}/docs?paid=${order.session}`
  narrator.check('redirects to', paid.returnedTo, back, shortIds(back))
}

// The codes of the demo are worthless. Real codes are worth a ticket: do not print them.
const SHOWN = 2

/** The webhooks arrive, the purchase is PAID, its codes are issued. */
async function receiveCodes(
  scene: StoryContext,
  shop: Shop,
  order: Order,
  seen: Set<string>,
): Promise<PaidPurchase> {
  const { api, narrator } = scene
  narrator.chapter('The webhooks arrive, the codes are issued')
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
  narrator.check('valid codes', page.data.filter(({ valid }) => valid).length, QUANTITY)
  for (const code of codes.slice(0, SHOWN)) narrator.note(code)
  narrator.note(`${masked(codes[SHOWN] ?? '')}  and ${QUANTITY - SHOWN - 1} more`)
  await showMail(scene, purchase.id, `Your ${QUANTITY} voucher codes for DevConf are ready`)
  return { purchase, codes }
}

const masked = (code: string) => code.replace(/[^-]+$/, (secret) => '•'.repeat(secret.length))

/** The problem document for a code that cannot be redeemed. */
const refusal = z.object({ code: z.string(), invalid_reason: z.string() })

/** The ticket shop redeems a code, repeats the request, and tries the code for another order. */
async function redeemCode(
  { api, narrator }: StoryContext,
  shop: Shop,
  code: string,
): Promise<void> {
  narrator.chapter('The ticket shop redeems a code')
  const path = `${shop.path}/vouchers/${code}`
  const redemption = { method: 'POST', path: `${path}/redemptions`, as: shop.staffKey } as const
  const ask = (reference: string) => ({ ...redemption, body: { reference } })

  const first = await api.call({ ...ask('order-1001'), expect: 201, schema: redemptionSchema })
  narrator.check('redeemed for', first.reference, 'order-1001')

  const again = await api.call({ ...ask('order-1001'), expect: 200, schema: redemptionSchema })
  narrator.check('repeated: the same redemption', again.id, first.id, shortIds(again.id))
  const look = { method: 'GET', path, as: shop.staffKey, expect: 200 } as const
  const voucher = await api.look({ ...look, schema: voucherSchema })
  narrator.check('uses', voucher.times_used, 1, `${voucher.times_used} of ${voucher.max_uses}`)

  const other = await api.call({ ...ask('order-1002'), expect: 409, schema: refusal })
  narrator.check('for another order: refused', other.invalid_reason, 'used_up')
}

/** Staff refund some vouchers: that many unused codes are deactivated, the redeemed one stays active. */
async function refundSome(
  scene: StoryContext,
  shop: Shop,
  { purchase, codes }: PaidPurchase,
  seen: Set<string>,
): Promise<void> {
  const { api, narrator } = scene
  narrator.chapter(`Staff refund ${REFUNDED_QUANTITY} of the vouchers`)
  const amount = REFUNDED_QUANTITY * PRICE
  const path = `${shop.path}/purchases/${purchase.id}`
  const as = shop.staffKey
  const refund = { method: 'POST', path: `${path}/refund`, as, body: { amount } } as const
  await api.call({ ...refund, expect: 200, schema: purchaseSchema })
  const now = await watchPurchase(
    scene,
    shop,
    purchase.id,
    ({ amount_refunded, vouchers }) =>
      amount_refunded === amount && vouchers.deactivated === REFUNDED_QUANTITY,
  )
  await showWebhooks(scene, shop, seen)
  narrator.check('status', now.status, 'PAID')
  narrator.check('refunded', now.amount_refunded, amount, formatMoney(amount, CURRENCY))
  narrator.check('deactivated codes', now.vouchers.deactivated, REFUNDED_QUANTITY)
  narrator.check('codes left to redeem', now.vouchers.remaining, QUANTITY - REFUNDED_QUANTITY - 1)
  const query = { method: 'GET', path: `${path}/vouchers?limit=100`, as, expect: 200 } as const
  const page = await api.look({ ...query, schema: voucherPage })
  const used = page.data.find(({ code }) => code === codes[0])
  narrator.check('the redeemed code', used?.state, 'active', 'still active')
}

/** Staff refund the whole purchase: every code is deactivated. */
async function refundAll(
  scene: StoryContext,
  shop: Shop,
  { purchase, codes }: PaidPurchase,
  seen: Set<string>,
): Promise<void> {
  const { api, narrator } = scene
  narrator.chapter('Staff refund the rest')
  const total = QUANTITY * PRICE
  const path = `${shop.path}/purchases/${purchase.id}/refund`
  const refund = { method: 'POST', path, as: shop.staffKey, body: {} } as const
  await api.call({ ...refund, expect: 200, schema: purchaseSchema })
  const now = await watchPurchase(scene, shop, purchase.id, ({ status }) => status === 'REFUNDED')
  await showWebhooks(scene, shop, seen)
  narrator.check('status', now.status, 'REFUNDED')
  narrator.check('refunded', now.amount_refunded, total, formatMoney(total, CURRENCY))
  narrator.check('active codes', now.vouchers.active, 0, 'none')
  narrator.check('deactivated codes', now.vouchers.deactivated, QUANTITY)
  const code = codes[1] ?? ''
  const dead = await api.call({
    method: 'POST',
    path: `${shop.path}/vouchers/${code}/redemptions`,
    as: shop.staffKey,
    body: { reference: 'order-1003' },
    expect: 409,
    schema: refusal,
  })
  narrator.check('redeeming a code: refused', dead.invalid_reason, 'deactivated')
}

const EXPECTED = [
  'PENDING → PROCESSING  CHECKOUT_OPENED',
  'PROCESSING → PAID  PAYMENT_SUCCEEDED',
  'PAID → PAID  PARTIALLY_REFUNDED',
  'PAID → REFUNDED  REFUNDED',
]

/** The history of the purchase has each transition once, although Stripe sent several events. */
async function showHistory(
  { api, narrator }: StoryContext,
  shop: Shop,
  { purchase }: PaidPurchase,
): Promise<void> {
  narrator.chapter('The history of the purchase')
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
  const shown = steps.map(({ event, from, to }) => `${from} → ${to}  ${event}`)
  narrator.check('each transition exactly once', shown, EXPECTED, `${shown.length} transitions`)
}
