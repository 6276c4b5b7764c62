import type { Command } from 'commander'
import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { refreshSubscription } from '../../stripe/billing/subscriptions/refresh-subscription.ts'
import {
  ENDED_STATUSES,
  type Subscription,
} from '../../stripe/billing/subscriptions/subscription.ts'
import {
  getSubscription,
  listSubscriptions,
} from '../../stripe/billing/subscriptions/subscription-store.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { conferencesToSearch, inOwner } from '../find-conference.ts'
import { Interrupted } from '../interrupted.ts'
import {
  SUBSCRIPTION_COLUMNS,
  type SubscriptionLine,
  subscriptionText,
} from '../output/subscription-text.ts'
import { renderTable } from '../output/table.ts'
import { assertAllDone, type SubscriptionRow, workOnSubscription } from '../subscription-work.ts'
import { withSession } from '../with-session.ts'

type Options = { conference?: string; ids?: string }

/** `subscriptions:refresh` */
export function addSubscriptionsRefresh(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'subscriptions:refresh',
    summary: 'Read subscriptions anew from Stripe',
    details:
      'What the webhooks do by themselves, after they were missed; and those of which Stripe was asked ' +
      'without an answer are made there. Ended ones are read only when they are named. Ends with 1 ' +
      'when one could not be read; the others are done.',
    examples: [
      ['subscriptions:refresh', 'every subscription that has not ended, in all conferences'],
      ['subscriptions:refresh --conference devconf', 'of one conference'],
      ['subscriptions:refresh --ids subs_7hTq2ZsW9nLd', 'this one'],
    ],
  })
    .option('--conference <slug|id>', 'default: all of them')
    .option('--ids <ids>', 'only these subscriptions, separated by commas')

  command.action(async (options: Options) => {
    const isJson = command.optsWithGlobals()['json'] === true
    const patient = { ...cli, signal: new AbortController().signal }
    const lines = await withSession(patient, async (session) => {
      const found = await find(session.db, options)
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

async function find(db: Db, { conference, ids }: Options): Promise<SubscriptionRow[]> {
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

const isLiving = ({ state, reading }: Subscription) =>
  state !== 'refused' && !ENDED_STATUSES.includes(reading?.status ?? '')

async function livingOf(db: Db, conferenceId: string): Promise<Subscription[]> {
  const found: Subscription[] = []
  let cursor: string | undefined
  do {
    const query = { limit: 100, cursor }
    const page = await withTenant(db, { conferenceId }, (trx) =>
      listSubscriptions(trx, conferenceId, {}, query),
    )
    found.push(...page.data.filter(isLiving))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return found
}
