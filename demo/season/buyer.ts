import { setTimeout as sleep } from 'node:timers/promises'
import type { FakeStripe } from 'fake-stripe/source'
import { z } from 'zod'
import { checkoutAnswer } from '../../src/payments/checkout-schemas.ts'
import { purchaseSchema } from '../../src/purchases/purchase-schemas.ts'
import type { PurchaseBody } from '../../src/purchases/purchase-view.ts'
import { voucherPage } from '../../src/vouchers/voucher-schemas.ts'
import type { Credential, DemoApi } from '../demo-api.ts'
import { CATALOG, type Order, pick } from './cast.ts'

/** Who acts in the season, and where. */
export type Season = {
  api: DemoApi
  stripe: Pick<FakeStripe, 'control'>
  /** `/v1/conferences/webcamp` */
  path: string
  /** The address of the service, to which payment pages lead back. */
  serviceUrl: string
  staff: Credential
  /** The ticket shop, which redeems. */
  shop: Credential
  sponsors: ReadonlyMap<string, Credential>
  /** Ids in the catalogue, by name. */
  items: ReadonlyMap<string, string>
  signal: AbortSignal
}

/** One purchase and the people around it: its buyer, the payer's bank, staff and the ticket shop. */
export type Buyer = ReturnType<typeof createBuyer>

const POLL_MS = 60
// Many times the usual duration on a busy machine with two cores.
const TIMEOUT_MS = 60_000

const GUESTS = [
  'Amara Okafor',
  'Bruno Keller',
  'Chloé Martin',
  'Dmitri Volkov',
  'Elena Rossi',
  'Farid Haddad',
  'Greta Lind',
  'Hiro Tanaka',
  'Inés Ortega',
  'Jonas Weber',
  'Kavya Rao',
  'Liam Byrne',
  'Mina Park',
  'Noor Aziz',
  'Olivia Chen',
  'Paweł Nowak',
] as const

export function createBuyer(season: Season, plan: Order) {
  const { api, path, signal, staff } = season
  const { control } = season.stripe
  const { sponsor, random, index } = plan
  const own = season.sponsors.get(sponsor.slug) ?? staff
  let id = ''
  let session = ''

  const act = (name: string, body: object, as: Credential): Promise<PurchaseBody> =>
    api.look({
      method: 'POST',
      path: `${path}/purchases/${id}/${name}`,
      as,
      body,
      expect: 200,
      schema: purchaseSchema,
    })

  async function place(as: Credential, body: object): Promise<void> {
    const isTicket = CATALOG.some(({ kind, name }) => kind === 'ticket_type' && name === plan.item)
    const item = season.items.get(plan.item)
    const purchase = await api.look({
      method: 'POST',
      path: `${path}/purchases`,
      as,
      body: { [isTicket ? 'ticket_type' : 'add_on']: item, ...body },
      expect: 201,
      schema: purchaseSchema,
    })
    id = purchase.id
  }

  /** Stripe's events arrive by themselves; this waits until they did what they do. */
  async function until(isSo: (purchase: PurchaseBody) => boolean): Promise<PurchaseBody> {
    const end = performance.now() + TIMEOUT_MS
    for (;;) {
      const purchase = await api.look({
        method: 'GET',
        path: `${path}/purchases/${id}`,
        as: staff,
        expect: 200,
        schema: purchaseSchema,
      })
      if (isSo(purchase)) return purchase
      if (performance.now() > end) throw new Error(`${id} of ${sponsor.name} does not go on`)
      await sleep(POLL_MS, undefined, { signal })
    }
  }

  const isPaid = ({ status }: PurchaseBody) => status === 'PAID'
  const isFlagged = ({ flags }: PurchaseBody) => flags.length > 0
  const payer = { email: `accounts@${sponsor.slug}.example`, name: sponsor.buyer }

  /** Unused codes that work, each once, at most so many as this share of all. */
  async function takeCodes(share: number, isFree: (code: VoucherBody) => boolean) {
    const { data } = await api.look({
      method: 'GET',
      path: `${path}/purchases/${id}/vouchers?limit=100`,
      as: staff,
      expect: 200,
      schema: voucherPage,
    })
    return data.filter(isFree).slice(0, Math.max(1, Math.round(share * data.length)))
  }

  return {
    random,

    /** @param min the fewest codes that the story needs. */
    async order(min = 1) {
      await place(own, {
        quantity: Math.max(plan.quantity, min),
        ...(random() < 0.7 ? { reference: `PO-${4_100 + index}` } : {}),
      })
    },

    /** Staff give codes to the sponsor. */
    async orderFree() {
      await place(staff, { quantity: plan.quantity, sponsor: sponsor.slug, unit_amount: 0 })
    },

    async openPage() {
      const back = `${season.serviceUrl}/portal`
      const opened = await api.look({
        method: 'POST',
        path: `${path}/purchases/${id}/checkout`,
        as: own,
        body: { success_url: back, cancel_url: back },
        expect: 200,
        schema: checkoutAnswer,
      })
      session = opened.session_id
    },

    async payByCard() {
      control.pay(session, payer)
      await until(isPaid)
    },

    async payByDebit() {
      control.payLater(session, payer)
      await until(({ status }) => status === 'PROCESSING')
    },

    async debitArrives() {
      control.settle(session)
      await until(isPaid)
    },

    async debitIsReturned() {
      control.failAsync(session)
      await until(({ status }) => status === 'FAILED')
    },

    async declined(code: Parameters<typeof control.decline>[1]) {
      control.decline(session, code)
    },

    async payAnotherAmount() {
      const { total_amount: total } = await until(() => true)
      control.pay(session, { ...payer, amount: Math.round(total * 0.9) })
      await until(isFlagged)
    },

    async pageExpires() {
      control.expire(session)
      await until(({ status }) => status === 'FAILED')
    },

    async recordTransfer() {
      const { total_amount: amount } = await until(() => true)
      const reference = `Statement ${20 + (index % 40)}, ${sponsor.name}`
      await act('mark-paid', { amount, method: 'bank_transfer', reference }, staff)
    },

    async approve() {
      await act('approve', {}, staff)
    },

    async revoke(note: string) {
      await act('revoke', { note }, staff)
    },

    async cancel() {
      await act('cancel', {}, own)
    },

    /** Refunds the price of so many codes. */
    async refundCodes(count: number) {
      const { unit_amount: price, amount_refunded: before } = await until(isPaid)
      const reason = 'requested_by_customer'
      await act('refund', { amount: count * price, reason }, staff)
      await until(({ amount_refunded: now }) => now > before)
    },

    async refundAll() {
      await act('refund', { reason: 'requested_by_customer' }, staff)
      await until(({ status }) => status === 'REFUNDED')
    },

    /** A refund of one code whose bank takes days. @returns its id at Stripe. */
    async refundSlowly(): Promise<string> {
      const { unit_amount: amount } = await until(isPaid)
      const refund = control.refund(session, { amount, status: 'pending' })
      await until(({ vouchers }) => vouchers.frozen > 0)
      return refund.id
    },

    async refundIsReturned(refund: string) {
      control.failRefund(refund)
      await until(isFlagged)
    },

    /** @returns the id of the dispute at Stripe. */
    async dispute(): Promise<string> {
      const reason = pick(random, ['fraudulent', 'product_not_received', 'duplicate'])
      const { id: dispute } = control.dispute(session, { reason })
      await until(isFlagged)
      return dispute
    },

    async disputeEnds(dispute: string, outcome: 'won' | 'lost') {
      control.closeDispute(dispute, outcome)
      await until(({ status, vouchers }) =>
        outcome === 'lost' ? status === 'REFUNDED' : vouchers.frozen === 0,
      )
    },

    async resolveDispute(note: string) {
      await act('resolve-flag', { code: 'dispute', note }, staff)
    },

    async suspectFraud() {
      control.earlyFraudWarning(session)
      await until(isFlagged)
    },

    /** The sponsor gives codes to people. The codes go out by the sponsor's own mail. */
    async assign(share: number) {
      const free = await takeCodes(share, (code) => code.valid && code.assigned_to === null)
      for (const [place, { code }] of free.slice(0, MAX_ASSIGNED).entries()) {
        const name = GUESTS[(index * 5 + place) % GUESTS.length] ?? sponsor.buyer
        await api.look({
          method: 'PUT',
          path: `${path}/vouchers/${code}/assignment`,
          as: own,
          body: { name, email: emailOf(name, sponsor.slug), send: false },
          expect: 200,
          schema: z.looseObject({}),
        })
      }
    },

    /** Guests use codes in the ticket shop. */
    async redeem(share: number) {
      const codes = await takeCodes(share, ({ valid }) => valid)
      for (const { code } of codes.slice(0, MAX_REDEEMED)) {
        await api.look({
          method: 'POST',
          path: `${path}/vouchers/${code}/redemptions`,
          as: season.shop,
          body: { reference: `order-${10_000 + Math.floor(random() * 89_999)}` },
          expect: 201,
          schema: z.looseObject({}),
        })
      }
    },
  }
}

type VoucherBody = z.output<typeof voucherPage>['data'][number]

// More would take long and show nothing else.
const MAX_ASSIGNED = 6
const MAX_REDEEMED = 6

const emailOf = (name: string, slug: string) =>
  `${name
    .normalize('NFD')
    .toLowerCase()
    .replaceAll('ł', 'l')
    .replace(/[^a-z ]/g, '')
    .replace(' ', '.')}@${slug}.example`
