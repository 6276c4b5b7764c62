import { findSharingConferences } from '../conferences/shared-accounts.ts'
import type { Db } from '../db/connect.ts'
import type { Page } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { notFound } from '../shared/errors.ts'
import { formatMoney } from '../shared/money.ts'
import {
  type BalanceTransaction,
  fetchBalanceTransactions,
  fetchPayout,
  fetchPayouts,
  type Payout,
} from '../stripe/fetch-payouts.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import {
  addTotals,
  type Item,
  itemise,
  type Owner,
  paymentIntentOf,
  type Totals,
  totalsOf,
} from './itemise-money.ts'
import {
  type BalanceQuery,
  type BalanceReport,
  fromSeconds,
  type ItemBody,
  type PayoutBody,
  type PayoutQuery,
  type PayoutReport,
  toItemBody,
} from './payout-schemas.ts'

// Read from Stripe, not from the mirror: a balance transaction does not say in which payout it is, and the
// mirror of a shared account has no payouts. The requests wait for the account's rate limit.

type Deps = {
  db: Db
  clients: Pick<StripeClients, 'background'>
  /** Entries of others beyond this number are only summed up: the account may sell much else. Default: 10,000. */
  maxOthers?: number
}

const MAX_OTHERS = 10_000

const DAY_SECONDS = 24 * 60 * 60
const secondsOf = (day: string) => Date.parse(`${day}T00:00:00Z`) / 1000

/** A range of days in UTC as Stripe's filter. */
const within = ({ from, to }: { from?: string | undefined; to?: string | undefined }) => ({
  ...(from === undefined ? {} : { gte: secondsOf(from) }),
  ...(to === undefined ? {} : { lt: secondsOf(to) + DAY_SECONDS }),
})

/**
 * The payouts of the conference's Stripe account, newest first.
 *
 * @throws AppError `stripe_key_missing` and `stripe_unavailable`, `stripe_failed`, ….
 */
export async function listPayouts(
  { clients }: Pick<Deps, 'clients'>,
  conferenceId: string,
  { limit, cursor, status, from, to }: PayoutQuery,
): Promise<Page<PayoutBody>> {
  const { stripe } = await clients.background(conferenceId)
  const page = await fetchPayouts(stripe, {
    limit,
    ...(cursor === undefined ? {} : { starting_after: cursor }),
    ...(status === undefined ? {} : { status }),
    ...(from === undefined && to === undefined ? {} : { arrival_date: within({ from, to }) }),
  })
  const data = page.data.map(toPayoutBody)
  const next = page.hasMore ? (data.at(-1)?.id ?? null) : null
  return { data, has_more: next !== null, next_cursor: next }
}

function toPayoutBody(payout: Payout): PayoutBody {
  const { reconciliation_status: _, created, arrival_date: arrival, ...fields } = payout
  return {
    ...fields,
    object: 'payout',
    arrival_date: fromSeconds(arrival).slice(0, 10),
    created_at: fromSeconds(created),
  }
}

/**
 * A payout with its balance transactions, what each belongs to, and whether they add up to the payout.
 *
 * @throws AppError `not_found`, `stripe_key_missing` and `stripe_unavailable`, `stripe_failed`, ….
 */
export async function readPayout(
  deps: Deps,
  conferenceId: string,
  id: string,
): Promise<PayoutReport> {
  const { stripe } = await deps.clients.background(conferenceId)
  const payout = await fetchPayout(stripe, id)
  if (payout === null) throw notFound('payout')
  const pages = payout.automatic ? fetchBalanceTransactions(stripe, { payout: id }) : []
  // Stripe lists the payout's own transaction, too.
  const { items, totals: sums, isOtherListed } = await itemiseFor(deps, conferenceId, pages, id)
  const totals = [...sums.values()].reduce(addTotals, totalsOf([]))
  return {
    ...toPayoutBody(payout),
    object: 'payout_report',
    ...reconciliationOf(payout, totals.all.net),
    totals,
    other_listed: isOtherListed,
    items,
  }
}

function reconciliationOf(
  payout: Payout,
  net: number,
): Pick<PayoutReport, 'reconciliation' | 'difference' | 'detail'> {
  const { automatic, amount, currency, status } = payout
  if (!automatic) {
    const detail =
      'Stripe does not list which money a manual payout contains. Compare the payouts of a period with the balance report of that period.'
    return { reconciliation: 'not_itemised', difference: null, detail }
  }
  const difference = amount - net
  if (payout.reconciliation_status === 'in_progress') {
    const detail = 'Stripe has not listed all entries of this payout yet. Read it again later.'
    return { reconciliation: 'in_progress', difference, detail }
  }
  const returned =
    status === 'failed' || status === 'canceled'
      ? ' The payout did not arrive: its money went back to the balance and is part of a later payout.'
      : ''
  const sum = formatMoney(net, currency)
  if (difference === 0) {
    return {
      reconciliation: 'agrees',
      difference,
      detail: `The entries add up to the payout of ${sum}.${returned}`,
    }
  }
  const detail = `The entries add up to ${sum}, the payout is ${formatMoney(amount, currency)}: a difference of ${formatMoney(difference, currency)}.${returned}`
  return { reconciliation: 'differs', difference, detail }
}

/**
 * All movements of the account's balance on a range of days. Manual payouts are compared with it, because
 * Stripe does not list which money they contain.
 *
 * @throws AppError `stripe_key_missing` and `stripe_unavailable`, `stripe_failed`, ….
 */
export async function readBalance(
  deps: Deps,
  conferenceId: string,
  { from, to }: BalanceQuery,
): Promise<BalanceReport> {
  const { stripe } = await deps.clients.background(conferenceId)
  const pages = fetchBalanceTransactions(stripe, { created: within({ from, to }) })
  const { items, totals: sums, isOtherListed } = await itemiseFor(deps, conferenceId, pages)
  return {
    object: 'balance_report',
    from,
    to,
    time_zone: 'UTC',
    currencies: [...sums]
      .map(([currency, totals]) => ({ currency, totals }))
      .toSorted((a, b) => (a.currency < b.currency ? -1 : 1)),
    other_listed: isOtherListed,
    items,
  }
}

type Itemised = { items: ItemBody[]; totals: Map<string, Totals>; isOtherListed: boolean }

/**
 * The entries of all pages, and their sums by currency. Other entries of a shared account may be those of another
 * conference, so they are only summed up.
 *
 * @param without the source of entries that are not counted.
 */
async function itemiseFor(
  { db, maxOthers = MAX_OTHERS }: Deps,
  conferenceId: string,
  pages: AsyncIterable<BalanceTransaction[]> | Iterable<BalanceTransaction[]>,
  without?: string,
): Promise<Itemised> {
  const sharing = await findSharingConferences(db, [conferenceId])
  let isOtherListed = !sharing.has(conferenceId)
  const isListed = ({ belongsTo }: Pick<Item, 'belongsTo'>) =>
    isOtherListed || belongsTo !== 'other'
  const totals = new Map<string, Totals>()
  let items: Item[] = []
  let others = 0
  for await (const page of pages) {
    const counted = page.filter(({ source }) => without === undefined || source?.id !== without)
    const found = itemise(counted, await findOwners(db, conferenceId, counted))
    for (const currency of new Set(found.map((item) => item.currency))) {
      const sums = totalsOf(found.filter((item) => item.currency === currency))
      totals.set(currency, addTotals(totals.get(currency) ?? totalsOf([]), sums))
    }
    others += found.filter(({ belongsTo }) => belongsTo === 'other').length
    if (isOtherListed && others > maxOthers) {
      isOtherListed = false
      items = items.filter(isListed)
    }
    items.push(...found.filter(isListed))
  }
  return { items: items.map((item) => toItemBody(item)), totals, isOtherListed }
}

/** What each payment intent pays: found in the payments, or in the mirror's invoices of subscriptions. */
const OWNERS = `
  with given as (select distinct unnest(cast(:intents as text[])) as id),
  found as (
    select given.id as "paymentIntent", case when p.purchase_id is null then 'charge' else 'purchase' end as kind,
      p.owner_id as id, coalesce(b.sponsor_id, c.sponsor_id) as sponsor
    from given
    join payments p on p.conference_id = :conferenceId and p.payment_intent_id = given.id
    left join bulk_purchases b on b.conference_id = p.conference_id and b.id = p.purchase_id
    left join charges c on c.conference_id = p.conference_id and c.id = p.charge_id
    union all
    select given.id, 'subscription', s.id, k.sponsor_id
    from given
    join stripe.invoices i on i.conference_id = :conferenceId and i.payment_intent = given.id
    join subscriptions s on s.conference_id = i.conference_id and s.stripe_subscription_id = i.subscription
    join customers k on k.conference_id = s.conference_id and k.id = s.customer_id)
  select found.*, sponsors.name as "sponsorName"
  from found left join sponsors
    on sponsors.conference_id = :conferenceId and sponsors.id = found.sponsor`

async function findOwners(
  db: Db,
  conferenceId: string,
  transactions: readonly BalanceTransaction[],
): Promise<Map<string, Owner>> {
  const intents = transactions.map(paymentIntentOf).filter((id) => id !== null)
  if (intents.length === 0) return new Map()
  const { rows } = await withTenant(db, { conferenceId }, (trx) =>
    trx.raw<{ rows: (Owner & { paymentIntent: string })[] }>(OWNERS, { conferenceId, intents }),
  )
  return new Map(rows.map(({ paymentIntent, ...owner }) => [paymentIntent, owner]))
}
