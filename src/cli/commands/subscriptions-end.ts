import type { Command } from 'commander'
import { withTenant } from '../../db/tenant-scope.ts'
import { dueSubscriptions, endOne } from '../../stripe/billing/subscriptions/end-subscriptions.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { CLI_ACTOR } from '../cli-actor.ts'
import { conferencesToSearch } from '../find-conference.ts'
import { Interrupted } from '../interrupted.ts'
import {
  SUBSCRIPTION_COLUMNS,
  type SubscriptionLine,
  subscriptionText,
} from '../output/subscription-text.ts'
import { renderTable } from '../output/table.ts'
import { assertAllDone, type SubscriptionRow, workOnSubscription } from '../subscription-work.ts'
import { type Session, withSession } from '../with-session.ts'

type Options = { conference?: string; now?: true; dryRun?: true }

/** `subscriptions:end` */
export function addSubscriptionsEnd(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'subscriptions:end',
    summary: 'Cancel the subscriptions whose end date has come',
    details:
      'At the end of the period that is paid for, unless --now is given. The workers do the former ' +
      'every hour by themselves. May be repeated, and run beside them. One that fails does not keep ' +
      'the others from it; the command ends with 1 then.',
    examples: [
      ['subscriptions:end --dry-run', 'what is due, in all conferences'],
      ['subscriptions:end --conference devconf', 'in one conference'],
      ['subscriptions:end --conference devconf --now', 'without waiting for the end of a period'],
    ],
  })
    .option('--conference <slug|id>', 'default: all of them')
    .option('--now', 'end them now; also those that would end by themselves')
    .option('--dry-run', 'cancel nothing and tell what is due')

  command.action(async (options: Options) => {
    const isJson = command.optsWithGlobals()['json'] === true
    // The session must not end with the signal: the request that is under way has to be answered.
    const patient = { ...cli, signal: new AbortController().signal }
    const { lines, due } = await withSession(patient, async (session) => {
      const due = await find(session, options)
      const lines: SubscriptionLine[] = []
      for (const row of options.dryRun === true ? [] : due) {
        if (cli.signal.aborted) break
        const line = await workOnSubscription(session, row, (deps) =>
          endOne(deps, row, { now: options.now === true, by: CLI_ACTOR.id }),
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
        due.length === 0 ? 'Nothing is due.\n' : '',
        lines.length === 0 ? '' : renderTable(lines, SUBSCRIPTION_COLUMNS, paint),
        ...waiting.map(({ id, conference }) => `Due: ${id} of ${conference}\n`),
      ].join(''),
    )
    if (cli.signal.aborted) throw new Interrupted()
    assertAllDone(lines, 'ended')
  })
}

async function find({ db }: Session, options: Options): Promise<SubscriptionRow[]> {
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
