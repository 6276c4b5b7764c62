import type { SubscriptionBody } from '../../stripe/billing/subscriptions/subscription-view.ts'
import type { Problem } from '../failure.ts'
import { momentText } from './moment-text.ts'
import { plainText } from './plain-text.ts'
import type { Column } from './table.ts'

/** What became of one subscription; with a problem it is as it was, and null when not even read. */
export type SubscriptionLine = {
  id: string
  conference: string
  subscription: SubscriptionBody | null
  problem: Problem | null
}

/** `active, ends 2027-02-15 09:31` */
function statusText({ subscription }: SubscriptionLine): string | null {
  if (subscription === null) return null
  const { status, state, cancel_at: at, cancel_at_period_end: ends } = subscription
  const now = status ?? state
  return ends && status !== 'canceled' ? `${now}, ends ${momentText(at)}` : now
}

export const SUBSCRIPTION_COLUMNS: readonly Column<SubscriptionLine>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'STATUS', cell: statusText },
  { head: 'END DATE', cell: ({ subscription }) => subscription && subscription.end_date },
  {
    head: 'PAID UNTIL (UTC)',
    cell: ({ subscription }) => subscription && momentText(subscription.current_period_end),
  },
  {
    head: 'PROBLEM',
    cell: ({ problem }) => problem && `${problem.detail} (${problem.code})`,
    paint: ({ problem }, paint) => (problem === null ? paint.dim : paint.red),
  },
]

/** `3/12 subs_… active, ends 2027-02-15 09:31` */
export function subscriptionText(line: SubscriptionLine, done: number, all: number): string {
  const { id, problem } = line
  const told = problem === null ? statusText(line) : `${problem.code}: ${plainText(problem.detail)}`
  return `${done}/${all} ${id} ${told ?? ''}\n`
}
