/** A time in microseconds since 1970, as Postgres has it: milliseconds would lose the order of facts. */
type Micros = number

/** What happened to the money of an order. A positive amount is the conference's. */
export type MoneyFact = {
  type: 'payment' | 'refund' | 'refund_failed' | 'dispute' | 'dispute_won'
  at: Micros
  /** The id at Stripe, or what the bank statement says. */
  reference: string
  currency: string
  amount: number
  method: string | null
  /** When the money of a recorded payment came, by staff. */
  paidAt: string | null
}

/** What is owed for an order depends on this alone, and on the money once it is paid. */
type OrderState = 'open' | 'failed' | 'paid' | 'refunded'

/** A purchase or a charge of a sponsor, with its history. */
export type Order = {
  kind: 'purchase' | 'charge'
  id: string
  reference: string | null
  description: string
  currency: string
  total: number
  at: Micros
  /** What staff accepted as full payment instead of the total. */
  accepted: { currency: string; amount: number } | null
  states: { to: OrderState; at: Micros }[]
  money: MoneyFact[]
}

export type EntryType = 'order' | 'cancellation' | 'credit' | MoneyFact['type']

/** A line of a statement. A positive amount is owed by the sponsor. */
export type Entry = {
  at: Micros
  type: EntryType
  order: Pick<Order, 'kind' | 'id' | 'description'>
  reference: string | null
  method: string | null
  paidAt: string | null
  currency: string
  amount: number
}

/**
 * The entries of an order. Money is booked as it moved. Beside it, the order is booked as what is owed for it:
 * its total; nothing while it is FAILED or when it is REFUNDED; of a paid order no more than what is left of
 * the money, because the codes of the rest are inactive. So a paid order is balanced, and what it was overpaid
 * is the sponsor's.
 */
export function bookOrder(order: Order): Entry[] {
  const entries: Entry[] = []
  const net = new Map<string, number>()
  const booked = new Map<string, number>()
  let state: OrderState = 'open'

  const add = (
    type: EntryType,
    at: Micros,
    currency: string,
    amount: number,
    fact?: MoneyFact,
  ): void => {
    const { kind, id, description } = order
    entries.push({
      at,
      type,
      order: { kind, id, description },
      reference: fact?.reference ?? (type === 'order' ? order.reference : null),
      method: fact?.method ?? null,
      paidAt: fact?.paidAt ?? null,
      currency,
      amount,
    })
  }

  const bookDue = (at: Micros, before: OrderState): void => {
    const due = dueOf(order, state, net)
    for (const currency of new Set([...booked.keys(), due.currency])) {
      const known = booked.get(currency)
      const wanted = currency === due.currency ? due.amount : 0
      booked.set(currency, wanted)
      const change = wanted - (known ?? 0)
      // A free order is an entry, too.
      if (change === 0 && known !== undefined) continue
      const isNew = known === undefined || before === 'failed'
      if (change >= 0) add(isNew ? 'order' : 'credit', at, currency, change)
      else add(state === 'failed' ? 'cancellation' : 'credit', at, currency, change)
    }
  }

  bookDue(order.at, state)
  for (const fact of inOrder(order)) {
    const before = state
    if ('to' in fact) state = fact.to
    else {
      net.set(fact.currency, (net.get(fact.currency) ?? 0) + fact.amount)
      // Not −0.
      add(fact.type, fact.at, fact.currency, 0 - fact.amount, fact)
    }
    bookDue(fact.at, before)
  }
  return entries
}

/** Money of the same time as a change of state is its reason. */
function inOrder({ states, money }: Order): (MoneyFact | Order['states'][number])[] {
  return [...money, ...states].toSorted((a, b) => a.at - b.at)
}

function dueOf(
  { currency, total, accepted }: Order,
  state: OrderState,
  net: ReadonlyMap<string, number>,
): { currency: string; amount: number } {
  if (state === 'open') return { currency, amount: total }
  if (state === 'failed') return { currency, amount: 0 }
  const base = accepted ?? { currency, amount: total }
  const isOwn = base.currency === currency
  // More than the total is not owed, also if staff accepted it.
  const owed = isOwn ? Math.min(total, base.amount) : base.amount
  const left = state === 'refunded' ? 0 : Math.max(0, net.get(base.currency) ?? 0)
  return { currency: base.currency, amount: Math.min(owed, left) }
}

/** The part of a statement in one currency. */
export type Account = {
  currency: string
  opening: number
  entries: (Entry & { balance: number })[]
  closing: number
}

/**
 * The entries of a period as one account for each currency, with running balances.
 *
 * @param until exclusive.
 */
export function toAccounts(
  orders: readonly Order[],
  { from, until }: { from: Micros; until: Micros },
): Account[] {
  // Stable: entries of one order and one time stay in their order.
  const entries = orders.flatMap(bookOrder).toSorted((a, b) => a.at - b.at)
  const accounts = new Map<string, Account>()
  for (const entry of entries.filter(({ at }) => at < until)) {
    const { currency, amount } = entry
    const account = accounts.get(currency) ?? { currency, opening: 0, entries: [], closing: 0 }
    accounts.set(currency, account)
    account.closing += amount
    if (entry.at < from) account.opening = account.closing
    else account.entries.push({ ...entry, balance: account.closing })
  }
  return [...accounts.values()].toSorted((a, b) => (a.currency < b.currency ? -1 : 1))
}
