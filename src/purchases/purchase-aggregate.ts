import type { Conference } from '../conferences/conference-store.ts'
import { isPayable } from '../payments/attempt-machine.ts'
import {
  balancesOf,
  netOf,
  type PaymentBalance,
  refundable,
  sumBalances,
} from '../payments/balances.ts'
import type { PaymentRecords } from '../payments/payment-records.ts'
import { isRefundPending } from '../payments/payment-snapshot.ts'
import { AppError, type AppErrorOptions, type ErrorCode } from '../shared/errors.ts'
import type { VoucherTarget } from '../vouchers/freeze-vouchers.ts'
import type { VoucherTerms } from '../vouchers/voucher-terms.ts'
import {
  decide,
  type FlagCode,
  type PurchaseContext,
  type PurchaseEvent,
  type PurchaseStatus,
} from './purchase-machine.ts'

/** Names one purchase of one tenant. */
export type PurchaseRef = { conferenceId: string; purchaseId: string }

/** A row of bulk_purchases. Amounts are integer minor units of `currency`. */
export type BulkPurchase = {
  conferenceId: string
  id: string
  sponsorId: string | null
  status: PurchaseStatus
  quantity: number
  unitAmount: number
  totalAmount: number
  currency: string
  /** A sponsor may change the quantity only if the catalogue set the price and the vouchers' terms. */
  priceSource: 'catalogue' | 'staff'
  description: string
  reference: string | null
  ticketTypeId: string | null
  addOnId: string | null
  terms: VoucherTerms
  amountReceived: number
  amountRefunded: number
  /** The payment that made it PAID. */
  paymentIntentId: string | null
  /** A payment of another amount that staff accepted, and that amount. */
  accepted: { paymentIntentId: string; amount: number } | null
  failure: { code: string; message: string } | null
  reconcileTicket: number
  appliedTicket: number
  reconciledAt: Date | null
  requestedBy: string
  approvedBy: string | null
  createdAt: Date
  updatedAt: Date
  paidAt: Date | null
  refundedAt: Date | null
}

/** A purchase with everything that decisions about it depend on, loaded once under its lock. */
export type PurchaseAggregate = {
  purchase: BulkPurchase
  records: PaymentRecords
  /** Every flag that was raised, resolved or not. */
  flags: readonly RaisedFlag[]
  /** What was last required of its vouchers. Null: none were issued. */
  target: StoredTarget | null
}

/**
 * `missing`: how many of `inactive` are redeemed, so that they cannot be deactivated. Null for vouchers that
 * were issued before their target was stored: they are not aligned to it yet.
 */
export type StoredTarget = VoucherTarget & { missing: number | null }

export type RaisedFlag = {
  code: FlagCode
  fact: string
  detail: string
  /** ISO 8601. */
  raisedAt: string
  isOpen: boolean
}

/** What a purchase has received and owes. Integer minor units of `currency`. */
export type PurchaseMoney = {
  /** The purchase's currency, or that of the payment that staff accepted instead. */
  currency: string
  refundPending: number
  /** received − succeeded refunds − lost disputes */
  net: number
  /** What a paid purchase owes us: the total, or the amount that staff accepted instead. */
  due: number
  /** Whether a dispute is open. */
  disputed: boolean
}

/**
 * Amounts of different currencies are never added or compared: a payment in another currency does not
 * count until staff accept it, and then only payments in its currency count.
 */
function moneyOf(purchase: BulkPurchase, balances: PaymentBalance[]): PurchaseMoney {
  const { accepted, totalAmount } = purchase
  const payment = balances.find(({ paymentIntent }) => paymentIntent === accepted?.paymentIntentId)
  const currency = payment?.currency ?? purchase.currency
  const { net, refundPending, disputed } = sumBalances(balances, currency)
  const isOwn = currency === purchase.currency
  const owed = accepted === null ? totalAmount : accepted.amount
  const due = isOwn ? Math.min(totalAmount, owed) : owed
  return { currency, net, refundPending, disputed, due }
}

/** The payments of another amount or currency that staff can still accept or refund. */
export function paymentsToDecide({ records, flags }: PurchaseAggregate): PaymentBalance[] {
  const open = flags.filter(({ code, isOpen }) => code === 'amount_mismatch' && isOpen)
  return balancesOf(records).filter(
    (payment) => netOf(payment) > 0 && open.some(({ fact }) => fact === payment.paymentIntent),
  )
}

/** Whether it was paid, also if the money went back. No attempt of it may be paid any more. */
export function isPaid({ status }: BulkPurchase): boolean {
  return status === 'PAID' || status === 'REFUNDED'
}

/** What the machine's guards compare. */
export function machineContext({ purchase, records }: PurchaseAggregate): PurchaseContext {
  const balances = balancesOf(records)
  const { due, net } = moneyOf(purchase, balances)
  return {
    total: purchase.totalAmount,
    currency: purchase.currency,
    due,
    net,
    attempts: {
      open: records.attempts.some(isPayable),
      // A bank debit that staff took at Stripe belongs to no attempt.
      pending:
        records.attempts.some(({ state }) => state === 'processing') ||
        records.payments.some(({ status }) => status === 'processing'),
      // A payment that was refunded or lost completely does not count, even if its session is paid.
      paid: balances.some((balance) => !balance.isRecorded && netOf(balance) > 0),
    },
  }
}

/**
 * How many vouchers in all must be inactive if `net` is left of the amount due. It counts whole
 * vouchers only: a refund below the price of one deactivates none. This is
 * `floor((total − net) / unit_amount)`, written so that it also holds for an accepted amount that the
 * quantity does not divide.
 */
function inactiveCount(quantity: number, due: number, net: number): number {
  const missing = Math.max(0, due - net)
  if (missing === 0 || due === 0) return 0
  // Both factors are at most eight digits, so the product is exact in a double.
  return Math.min(quantity, Math.floor((missing * quantity) / due))
}

/** The vouchers that refunds named, by whether the refund is complete. Ids in ascending order. */
type NamedVouchers = Pick<VoucherTarget, 'namedInactive' | 'namedFrozen'> & {
  /** Of requests that no snapshot has shown yet. Their vouchers are frozen from the request on. */
  requested: number
}

const NONE_NAMED: NamedVouchers = { namedInactive: [], namedFrozen: [], requested: 0 }

function namedVouchers({ requests, refunds, recorded }: PaymentRecords): NamedVouchers {
  const naming = requests.filter(
    ({ voucherIds, state }) => voucherIds.length > 0 && state !== 'refused',
  )
  if (naming.length === 0 && recorded === null) return NONE_NAMED
  const inactive = new Set(recorded?.refunds.flatMap(({ voucherIds }) => voucherIds))
  const frozen = new Set<number>()
  let requested = 0
  for (const { refundId, voucherIds, amount } of naming) {
    const status = refunds.find(({ id }) => id === refundId)?.status
    if (status === undefined) requested += amount
    const isOpen = status === undefined || isRefundPending(status)
    const named = status === 'succeeded' ? inactive : isOpen ? frozen : null
    for (const id of voucherIds) named?.add(id)
  }
  const ascending = (ids: Set<number>) => [...ids].toSorted((a, b) => a - b)
  return { namedInactive: ascending(inactive), namedFrozen: ascending(frozen), requested }
}

/** Ids of the vouchers that a refund named which is not complete. */
export const vouchersBeingReturned = ({ records }: PurchaseAggregate): ReadonlySet<number> =>
  new Set(namedVouchers(records).namedFrozen)

/**
 * What the money and the disputes of a purchase require of its vouchers, as they stand now. Null while
 * it has no vouchers.
 */
export function targetOf({ purchase, records }: PurchaseAggregate): VoucherTarget | null {
  const { status, quantity } = purchase
  if (!isPaid(purchase)) return null
  const { due, net, refundPending, disputed } = moneyOf(purchase, balancesOf(records))
  const { requested, ...named } = namedVouchers(records)
  if (status === 'REFUNDED') return { inactive: quantity, frozen: quantity, disputed, ...named }
  return {
    inactive: inactiveCount(quantity, due, net),
    frozen: inactiveCount(quantity, due, net - refundPending - requested),
    disputed,
    ...named,
  }
}

/**
 * How many more vouchers a refund of the amount would require to be inactive, after all refunds that are not
 * complete. None while more than the amount due is left.
 */
export function vouchersReturnedBy(
  { purchase, records }: PurchaseAggregate,
  amount: number,
): number {
  const { quantity } = purchase
  const balances = balancesOf(records)
  const { due, net, refundPending, currency } = moneyOf(purchase, balances)
  const counted = balances.filter((balance) => balance.currency === currency)
  const requested = counted.reduce((sum, balance) => sum + balance.requested, 0)
  const left = net - refundPending - requested
  return inactiveCount(quantity, due, left - amount) - inactiveCount(quantity, due, left)
}

/** What a person can do with a purchase. `allowed_actions` and the 409 errors use these names. */
export const PURCHASE_ACTIONS = [
  'update',
  'checkout',
  'cancel',
  'approve',
  'revoke',
  'mark_paid',
  'refund',
  'reconcile',
  'resolve_flag',
] as const

type PurchaseAction = (typeof PURCHASE_ACTIONS)[number]

const SPONSOR_ACTIONS: readonly PurchaseAction[] = ['update', 'checkout', 'cancel']

/**
 * What the caller can do now. The machine decides it, so that this list and the errors agree.
 *
 * @param hasOpenFlag - for `resolve_flag`; the errors leave it out.
 */
export function allowedActions(
  aggregate: PurchaseAggregate,
  isSponsor: boolean,
  hasOpenFlag = false,
): PurchaseAction[] {
  const { purchase, records } = aggregate
  const context = machineContext(aggregate)
  const { open, pending, paid } = context.attempts
  const can = (event: PurchaseEvent) => decide(purchase.status, context, event).kind === 'applied'
  // An open page is closed first.
  const closed = { ...context, attempts: { ...context.attempts, open: false } }
  const isPriceOpen = !isSponsor || purchase.priceSource === 'catalogue'
  const possible: Record<PurchaseAction, boolean> = {
    update: purchase.status === 'PENDING' && !open && !pending && isPriceOpen,
    checkout: can({ type: 'CHECKOUT_OPENED' }) && !pending && !paid,
    cancel: can({ type: 'CANCELLED' }),
    approve: can({ type: 'COMP_APPROVED' }),
    revoke: can({ type: 'COMP_REVOKED' }),
    mark_paid: decide(purchase.status, closed, wholePayment(purchase)).kind === 'applied',
    refund: balancesOf(records).some((balance) => refundable(balance) > 0),
    reconcile: records.attempts.length > 0 || records.payments.length > 0,
    resolve_flag: hasOpenFlag,
  }
  return PURCHASE_ACTIONS.filter(
    (action) => possible[action] && (!isSponsor || SPONSOR_ACTIONS.includes(action)),
  )
}

const wholePayment = ({ totalAmount: amount, currency, createdAt: paidAt }: BulkPurchase) =>
  ({ type: 'PAYMENT_RECORDED', amount, currency, paidAt }) as const

/**
 * Refuses a new payment attempt, by the payment page or by a saved card, unless the purchase allows it.
 *
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`.
 */
export function assertPayable(
  conference: Conference,
  aggregate: PurchaseAggregate,
  action: 'checkout' | 'pay',
  isSponsor: boolean,
): void {
  assertNoPayment(aggregate)
  const { status } = aggregate.purchase
  const allowed = allowedActions(aggregate, isSponsor)
  if (!allowed.includes('checkout')) throw wrongState(action, status, allowed)
  if (conference.livemode === null) {
    throw new BulkPurchaseError(
      'stripe_key_missing',
      'The conference has no Stripe key. An operator must set one.',
    )
  }
}

/**
 * Refuses another payment of an unpaid purchase while one is pending or has arrived.
 *
 * @throws BulkPurchaseError `payment_in_progress`.
 */
export function assertNoPayment(aggregate: PurchaseAggregate): void {
  if (isPaid(aggregate.purchase)) return
  const { pending, paid } = machineContext(aggregate).attempts
  if (pending) {
    throw new BulkPurchaseError(
      'payment_in_progress',
      'A bank payment is pending. Wait until it succeeds or fails.',
    )
  }
  if (paid) {
    throw new BulkPurchaseError(
      'payment_in_progress',
      'A payment arrived. Staff must first accept or refund it.',
    )
  }
}

/** The service refused an operation on a purchase. Nothing was changed. */
export class BulkPurchaseError extends AppError {
  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    super(code, detail, options)
    this.name = 'BulkPurchaseError'
  }
}

/** A 409 with the status and the actions that are possible in it. */
export function wrongState(
  action: PurchaseAction | 'pay',
  status: PurchaseStatus,
  allowed: readonly PurchaseAction[],
): BulkPurchaseError {
  const detail = `${ACTION_NOUNS[action]} is not possible: ${reasonOf(action, status)}.`
  const extra = { state: status, allowed_actions: allowed }
  return new BulkPurchaseError('wrong_state', detail, { extra })
}

const ACTION_NOUNS: Record<PurchaseAction | 'pay', string> = {
  update: 'An update',
  checkout: 'Checkout',
  pay: 'Payment by a saved card',
  cancel: 'Cancellation',
  approve: 'Approval',
  revoke: 'Revocation',
  mark_paid: 'Recording a payment',
  refund: 'A refund',
  reconcile: 'A refresh',
  resolve_flag: 'Resolving a flag',
}

function reasonOf(action: PurchaseAction | 'pay', status: PurchaseStatus): string {
  if (action === 'approve' && status === 'PENDING') return 'the purchase is not free'
  if (action === 'revoke' && status === 'PAID') return 'the purchase was paid: refund it'
  const isPayment = action === 'mark_paid' || action === 'checkout' || action === 'pay'
  if (isPayment && status === 'PENDING') return 'the purchase is free: staff approve it'
  if (action === 'update' && status === 'PENDING') return 'a payment is open or pending'
  if (action === 'refund' && (status === 'PAID' || status === 'REFUNDED')) {
    return 'nothing is left to refund'
  }
  const isUnpaid = status === 'PENDING' || status === 'PROCESSING'
  return isUnpaid ? `the purchase is ${status}` : `the purchase is already ${status}`
}
