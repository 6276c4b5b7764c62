import { findNamedActor } from '../access/actor-names.ts'
import { type CatalogItem, findCatalogItem } from '../catalog/catalog-items.ts'
import { type Conference, getConference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import type { Caller } from '../shared/caller.ts'
import { type FieldError, invalidField, invalidFields } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { chargeProblem } from '../shared/money.ts'
import type { Clock } from '../shared/time.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import {
  DEFAULT_TERMS,
  defaultPrefix,
  mergeTerms,
  type VoucherTerms,
  type VoucherTermsInput,
  voucherTermsProblems,
} from '../vouchers/voucher-terms.ts'
import type { BulkPurchase } from './purchase-aggregate.ts'
import { allowedActions, BulkPurchaseError, wrongState } from './purchase-aggregate.ts'
import { describeAgain, describePurchase } from './purchase-description.ts'
import {
  insertPurchase,
  lockAggregate,
  type PurchaseNames,
  termsColumns,
  updateOrder,
} from './purchase-store.ts'

export type NewPurchaseInput = {
  item: ItemRef | null
  quantity: number
  reference: string | null
  /** Id, slug or external id. A sponsor's key can name only itself. */
  sponsor: string | null
  /** Minor units. Null: the item's price. */
  unitAmount: number | null
  description: string | null
  terms: VoucherTermsInput | null
}

/**
 * Creates a PENDING purchase with the price and voucher terms of the catalogue, or with those that
 * staff set.
 *
 * @throws AppError `validation_failed` naming each field that breaks a rule.
 */
export async function createPurchase(
  trx: Tx,
  deps: { clock: Clock },
  caller: Caller,
  input: NewPurchaseInput,
): Promise<{ purchase: BulkPurchase; names: PurchaseNames }> {
  const now = deps.clock.now()
  const [conference, sponsor, found, requestedBy] = await Promise.all([
    getConference(trx, caller.conferenceId),
    findBuyer(trx, caller, input),
    input.item && findCatalogItem(trx, caller.conferenceId, input.item.kind, input.item.id),
    findNamedActor(trx, caller.actor.id),
  ])
  if (caller.sponsorId !== null && sponsor !== null) assertSponsorFields(input, sponsor)
  const item = input.item && assertOnSale(found, input.item, now)
  const defaults = {
    ...DEFAULT_TERMS,
    prefix: defaultPrefix(sponsor?.slug ?? null, conference.codeLength),
  }
  const terms = mergeTerms(mergeTerms(defaults, item?.voucherDefaults ?? {}), input.terms ?? {})
  const unitAmount = unitAmountOf(input, item)
  assertSellable(conference, { quantity: input.quantity, unitAmount, terms }, now)
  const purchase = await insertPurchase(trx, {
    conference_id: caller.conferenceId,
    id: newId('purchase'),
    sponsor_id: sponsor?.id ?? null,
    quantity: input.quantity,
    unit_amount: unitAmount,
    currency: conference.currency,
    price_source: input.unitAmount === null && input.terms === null ? 'catalogue' : 'staff',
    description: descriptionOf(input, item),
    reference: input.reference,
    ticket_type_id: item?.kind === 'ticket_type' ? item.id : null,
    add_on_id: item?.kind === 'add_on' ? item.id : null,
    ...termsColumns(terms),
    requested_by: caller.actor.id,
  })
  const names = { sponsor: sponsor?.name ?? null, item: item?.name ?? null, requestedBy }
  return { purchase, names: { ...names, approvedBy: null } }
}

type ItemRef = { kind: 'ticket_type' | 'add_on'; id: string }

/** Only staff set prices and terms. */
function assertSponsorFields(input: NewPurchaseInput, sponsor: { id: string; slug: string }) {
  const errors: FieldError[] = []
  const refuse = (pointer: string) => errors.push({ pointer, detail: 'can be set only by staff' })
  if (input.unitAmount !== null) refuse('/unit_amount')
  if (input.description !== null) refuse('/description')
  if (input.terms !== null) refuse('/voucher_config')
  if (input.sponsor !== null && input.sponsor !== sponsor.id && input.sponsor !== sponsor.slug) {
    errors.push({
      pointer: '/sponsor',
      detail: 'must be the sponsor of this key: a sponsor key buys only for its own sponsor',
    })
  }
  if (input.item === null) {
    errors.push({ pointer: '/ticket_type', detail: 'or add_on is required' })
  }
  if (errors.length > 0) throw invalidFields(errors)
}

/** Checks, before anyone can pay, every rule that checkout and fulfilment need. */
function assertSellable(
  conference: Conference,
  order: { quantity: number; unitAmount: number; terms: VoucherTerms },
  now: Date,
): void {
  const errors: FieldError[] = []
  if (order.quantity > conference.maxQuantity) {
    const detail = `must be at most ${conference.maxQuantity}: the limit of this conference`
    errors.push({ pointer: '/quantity', detail })
  }
  const total = order.quantity * order.unitAmount
  const problem = total === 0 ? null : chargeProblem(total, conference.currency)
  if (problem !== null) errors.push({ pointer: '/quantity', detail: problem })
  for (const { pointer, detail } of voucherTermsProblems(order.terms, now)) {
    errors.push({ pointer: `/voucher_config${pointer}`, detail })
  }
  if (errors.length > 0) throw invalidFields(errors)
}

async function findBuyer(trx: Tx, caller: Caller, input: NewPurchaseInput) {
  const name = caller.sponsorId ?? input.sponsor
  if (name === null) return null
  const sponsor = await findSponsor(trx, caller.conferenceId, name)
  if (sponsor === null) {
    throw invalidField('/sponsor', `This conference has no sponsor "${name}".`)
  }
  return sponsor
}

function descriptionOf(input: NewPurchaseInput, item: CatalogItem | null): string {
  if (input.description !== null) return input.description
  if (item === null)
    throw invalidField('/description', 'is required without a ticket_type or add_on')
  return describePurchase(input.quantity, item.name)
}

function unitAmountOf(input: NewPurchaseInput, item: CatalogItem | null): number {
  const amount = input.unitAmount ?? item?.price
  if (amount === undefined) {
    throw invalidField('/unit_amount', 'is required without a ticket_type or add_on')
  }
  return amount
}

/**
 * Returns the item to buy. It must belong to this conference, be enabled for bulk purchases and be on
 * sale now.
 *
 * @throws AppError `validation_failed` with the pointer `/ticket_type` or `/add_on`.
 */
function assertOnSale(item: CatalogItem | null, { kind, id }: ItemRef, now: Date): CatalogItem {
  const refuse = (detail: string) => invalidField(`/${kind}`, detail)
  if (item === null) throw refuse(`This conference has no ${kind} "${id}".`)
  if (!item.bulkEnabled) throw refuse(`The item "${item.name}" is not enabled for bulk purchases.`)
  if (item.activeFrom !== null && item.activeFrom > now) {
    throw refuse(`The sale of "${item.name}" begins at ${item.activeFrom.toISOString()}.`)
  }
  if (item.activeUntil !== null && item.activeUntil <= now) {
    throw refuse(`The sale of "${item.name}" ended at ${item.activeUntil.toISOString()}.`)
  }
  return item
}

export type PurchaseChanges = {
  quantity?: number | undefined
  reference?: string | null | undefined
  unit_amount?: number | undefined
  description?: string | undefined
  voucher_config?: VoucherTermsInput | undefined
}

const STAFF_FIELDS = ['unit_amount', 'description', 'voucher_config'] as const

/**
 * Updates a purchase before its first checkout.
 *
 * @throws AppError `wrong_state` once a checkout was opened, `validation_failed`, `not_found`.
 */
export async function updatePurchaseOrder(
  trx: Tx,
  deps: { clock: Clock },
  caller: Caller,
  purchaseId: string,
  changes: PurchaseChanges,
): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const isSponsor = caller.sponsorId !== null
  const aggregate = await lockAggregate(trx, ref, caller.sponsorId)
  const { purchase } = aggregate
  const foreign = STAFF_FIELDS.find((field) => isSponsor && changes[field] !== undefined)
  if (foreign !== undefined) throw invalidField(`/${foreign}`, 'can be set only by staff')
  // What staff ask for one code, or give with it, says nothing about more of them.
  if (isSponsor && purchase.priceSource === 'staff') {
    const detail =
      'Staff set the price or the vouchers of this purchase, so only staff can change it.'
    throw new BulkPurchaseError('forbidden', detail)
  }
  const allowed = allowedActions(aggregate, isSponsor)
  if (!allowed.includes('update')) throw wrongState('update', purchase.status, allowed)

  const conference = await getConference(trx, caller.conferenceId)
  const quantity = changes.quantity ?? purchase.quantity
  const unitAmount = changes.unit_amount ?? purchase.unitAmount
  const terms = mergeTerms(purchase.terms, changes.voucher_config ?? {})
  assertSellable(conference, { quantity, unitAmount, terms }, deps.clock.now())
  await updateOrder(trx, ref, {
    ...(isByStaff(changes) ? { price_source: 'staff' } : {}),
    quantity,
    unit_amount: unitAmount,
    total_amount: quantity * unitAmount,
    reference: changes.reference === undefined ? purchase.reference : changes.reference,
    description:
      changes.description ?? describeAgain(purchase.description, purchase.quantity, quantity),
    ...termsColumns(terms),
  })
}

/** Whether staff set what a code costs or what it is good for. */
const isByStaff = ({ unit_amount, voucher_config }: PurchaseChanges) =>
  unit_amount !== undefined || voucher_config !== undefined
