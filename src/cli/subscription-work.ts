import { withTenant } from '../db/tenant-scope.ts'
import { AppError } from '../shared/errors.ts'
import type { BillingDeps } from '../stripe/billing/customers/billing-deps.ts'
import type { Subscription } from '../stripe/billing/subscriptions/subscription.ts'
import { viewSubscription } from '../stripe/billing/subscriptions/subscription-view.ts'
import { toFailure, toProblem } from './failure.ts'
import type { SubscriptionLine } from './output/subscription-text.ts'
import type { Session } from './with-session.ts'

export type SubscriptionRow = { id: string; conferenceId: string }

/** Does one thing to one subscription; what it throws becomes the line's problem. */
export async function workOnSubscription(
  session: Session,
  { id, conferenceId }: SubscriptionRow,
  work: (deps: BillingDeps) => Promise<Subscription>,
): Promise<SubscriptionLine> {
  const { clients, db } = session
  const connect = (conference: string) => clients.background(conference)
  // Nobody waits for a single one of them.
  const deps = { ...session, clients: { ...clients, connect } }
  const line = { id, conference: conferenceId }
  try {
    const found = await work(deps)
    const subscription = await withTenant(db, found, (trx) => viewSubscription(trx, found))
    return { ...line, subscription, problem: null }
  } catch (error) {
    return { ...line, subscription: null, problem: toProblem(toFailure(error)) }
  }
}

/** @throws AppError when one of the lines has a problem, so that the command ends with 1. */
export function assertAllDone(lines: readonly SubscriptionLine[], done: string): void {
  const failed = lines.filter(({ problem }) => problem !== null).length
  if (failed === 0) return
  throw new AppError('stripe_failed', `${failed} of ${lines.length} could not be ${done}.`)
}
