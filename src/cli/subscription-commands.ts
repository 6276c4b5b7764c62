import type { Command } from 'commander'
import type { BillingDeps } from '../billing/billing-deps.ts'
import { refreshSubscription } from '../billing/subscriptions/create-subscription.ts'
import { dueSubscriptions, endSubscription } from '../billing/subscriptions/end-subscriptions.ts'
import { ENDED_STATUSES, type Subscription } from '../billing/subscriptions/subscription.ts'
import {
  type SubscriptionBody,
  viewSubscription,
} from '../billing/subscriptions/subscription-schemas.ts'
import { getSubscription, listSubscriptions } from '../billing/subscriptions/subscription-store.ts'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError } from '../shared/errors.ts'
import { type Problem, toFailure, toProblem } from './cli-errors.ts'
import {
  allPages,
  CLI_ACTOR,
  conferencesToSearch,
  inBackground,
  inOwner,
  type Session,
  withLongSession,
} from './cli-session.ts'
import { addCommand, answer, type Cli, wantsJson } from './command.ts'
import { type Column, momentText, PROBLEM_COLUMN, renderTable } from './table.ts'
import { Interrupted, plainText } from './terminal.ts'

type EndOptions = { conference?: string; now?: true; dryRun?: true }

/** `subscriptions:end` */
export function addSubscriptionsEnd(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'subscriptions:end',
    summary: 'Cancel subscriptions whose end date has passed',
    details:
      'Cancels at the end of the paid period, or immediately with --now. Workers do the former every ' +
      'hour. Safe to repeat, also while workers run. If a subscription cannot be cancelled, the ' +
      'command continues with the others and ends with exit code 1.',
    examples: [
      ['subscriptions:end --dry-run', 'prints the due subscriptions of all conferences'],
      ['subscriptions:end --conference devconf', 'the same for one conference'],
      [
        'subscriptions:end --conference devconf --now',
        'immediately, not at the end of the paid period',
      ],
    ],
  })
    .option('--conference <slug|id>', 'only this one (default: all conferences)')
    .option('--now', 'cancel immediately, also those already set to end with the period')
    .option('--dry-run', 'cancel nothing, print what is due')

  command.action(async (options: EndOptions) => {
    const isJson = wantsJson(command)
    const { lines, due } = await withLongSession(cli, async (session) => {
      const due = await findDue(session, options)
      const lines: SubscriptionLine[] = []
      for (const row of options.dryRun === true ? [] : due) {
        if (cli.signal.aborted) break
        const line = await workOnSubscription(session, row, (deps) =>
          endSubscription(deps, row, { now: options.now === true, by: CLI_ACTOR.id }),
        )
        lines.push(line)
        if (!isJson) cli.terminal.err.write(subscriptionText(line, lines.length, due.length))
      }
      return { lines, due }
    })
    const waiting = due.slice(lines.length).map(({ id, conferenceId: conference }) => ({
      id,
      conference,
    }))
    answer(cli, command, { data: lines, waiting }, (paint) =>
      [
        due.length === 0 ? 'No subscription is due.\n' : '',
        lines.length === 0 ? '' : renderTable(lines, SUBSCRIPTION_COLUMNS, paint),
        ...waiting.map(({ id, conference }) => `Due: ${id} of ${conference}\n`),
      ].join(''),
    )
    if (cli.signal.aborted) throw new Interrupted()
    assertAllDone(lines, 'ended')
  })
}

async function findDue({ db }: Session, options: EndOptions): Promise<SubscriptionRow[]> {
  const found: SubscriptionRow[] = []
  for (const { conferenceId } of await conferencesToSearch(db, options.conference)) {
    const now = options.now === true
    const ids = await withTenant(db, { conferenceId }, (trx) =>
      dueSubscriptions(trx, { conferenceId, now }),
    )
    found.push(...ids.map((id) => ({ id, conferenceId })))
  }
  return found
}

type RefreshOptions = { conference?: string; ids?: string }

/** `subscriptions:refresh` */
export function addSubscriptionsRefresh(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'subscriptions:refresh',
    summary: 'Re-read subscriptions from Stripe',
    details:
      'Repairs what missed webhooks would have updated, and creates subscriptions at Stripe whose ' +
      'creation had an unknown outcome. Ended subscriptions are read only if named with --ids. If a ' +
      'subscription cannot be read, the command continues and ends with exit code 1.',
    examples: [
      ['subscriptions:refresh', 'all subscriptions that have not ended'],
      ['subscriptions:refresh --conference devconf', 'the same for one conference'],
      ['subscriptions:refresh --ids subs_7hTq2ZsW9nLd', 'one subscription'],
    ],
  })
    .option('--conference <slug|id>', 'only this one (default: all conferences)')
    .option('--ids <ids>', 'only these subscriptions, separated by commas')

  command.action(async (options: RefreshOptions) => {
    const isJson = wantsJson(command)
    const lines = await withLongSession(cli, async (session) => {
      const found = await findToRefresh(session.db, options)
      const done: SubscriptionLine[] = []
      for (const row of found) {
        if (cli.signal.aborted) break
        const ref = { conferenceId: row.conferenceId, subscriptionId: row.id }
        const line = await workOnSubscription(session, row, (deps) =>
          refreshSubscription(deps, ref),
        )
        done.push(line)
        if (!isJson) cli.terminal.err.write(subscriptionText(line, done.length, found.length))
      }
      return done
    })
    answer(cli, command, { data: lines }, (paint) =>
      lines.length === 0
        ? 'There are no such subscriptions.\n'
        : renderTable(lines, SUBSCRIPTION_COLUMNS, paint),
    )
    if (cli.signal.aborted) throw new Interrupted()
    assertAllDone(lines, 'read')
  })
}

async function findToRefresh(
  db: Db,
  { conference, ids }: RefreshOptions,
): Promise<SubscriptionRow[]> {
  const conferences = await conferencesToSearch(db, conference)
  const found: SubscriptionRow[] = []
  if (ids !== undefined) {
    for (const id of ids.split(',').map((text) => text.trim())) {
      found.push(
        await inOwner(db, conferences, `subscription: ${id}`, (trx, { conferenceId }) =>
          getSubscription(trx, { conferenceId, subscriptionId: id }),
        ),
      )
    }
    return found
  }
  for (const { conferenceId } of conferences) found.push(...(await livingOf(db, conferenceId)))
  return found
}

const isLiving = ({ state, snapshot }: Subscription) =>
  state !== 'refused' && !ENDED_STATUSES.includes(snapshot?.status ?? '')

async function livingOf(db: Db, conferenceId: string): Promise<Subscription[]> {
  const found = await allPages((query) =>
    withTenant(db, { conferenceId }, (trx) => listSubscriptions(trx, conferenceId, {}, query)),
  )
  return found.filter(isLiving)
}

type SubscriptionRow = { id: string; conferenceId: string }

/** Runs `work` for one subscription; an error becomes the problem of its line. */
async function workOnSubscription(
  session: Session,
  { id, conferenceId }: SubscriptionRow,
  work: (deps: BillingDeps) => Promise<Subscription>,
): Promise<SubscriptionLine> {
  const { db } = session
  const line = { id, conference: conferenceId }
  try {
    const found = await work(inBackground(session))
    const subscription = await withTenant(db, found, (trx) => viewSubscription(trx, found))
    return { ...line, subscription, problem: null }
  } catch (error) {
    return { ...line, subscription: null, problem: toProblem(toFailure(error)) }
  }
}

/** @throws AppError if a line has a problem: the exit code is 1. */
function assertAllDone(lines: readonly SubscriptionLine[], done: string): void {
  const failed = lines.filter(({ problem }) => problem !== null).length
  if (failed === 0) return
  throw new AppError(
    'stripe_failed',
    `${failed} of ${lines.length} subscriptions could not be ${done}.`,
  )
}

/** The result for one subscription. With a problem: the unchanged subscription, or null. */
type SubscriptionLine = {
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

const SUBSCRIPTION_COLUMNS: readonly Column<SubscriptionLine>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'STATUS', cell: statusText },
  { head: 'END DATE', cell: ({ subscription }) => subscription && subscription.end_date },
  {
    head: 'PAID UNTIL (UTC)',
    cell: ({ subscription }) => subscription && momentText(subscription.current_period_end),
  },
  PROBLEM_COLUMN,
]

/** `3/12 subs_… active, ends 2027-02-15 09:31` */
function subscriptionText(line: SubscriptionLine, done: number, all: number): string {
  const { id, problem } = line
  const result =
    problem === null ? statusText(line) : `${problem.code}: ${plainText(problem.detail)}`
  return `${done}/${all} ${id} ${result ?? ''}\n`
}
