import type { Command } from 'commander'
import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { Caller } from '../../http/caller.ts'
import { toStripeEventBody } from '../../stripe/inbox/event-schemas.ts'
import { replayEvent, replayFailed } from '../../stripe/inbox/event-store.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { conferencesToSearch, inOwner } from '../find-conference.ts'
import { EVENT_COLUMNS, type EventBody } from '../output/event-text.ts'
import { renderTable } from '../output/table.ts'
import { UsageError } from '../usage-error.ts'
import { withSession } from '../with-session.ts'

type Options = { conference?: string; failed?: true }

/** `events:replay` */
export function addEventsReplay(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'events:replay [event...]',
    summary: 'Make events due again',
    details:
      'A working process takes them up at once. A replay is always safe: an event only says that ' +
      'it is time to look at what Stripe has.',
    examples: [
      ['events:replay evt_1Pxyz evt_1Pabc', 'these, whatever became of them'],
      ['events:replay --failed', 'every failed event of all conferences'],
      ['events:replay --failed --conference devconf', 'of one conference'],
    ],
  })
    .option('--failed', 'every event that failed')
    .option('--conference <slug|id>', 'default: all of them')

  command.action(async (ids: string[], options: Options) => {
    if (ids.length > 0 === (options.failed === true)) {
      throw new UsageError('name events, or give --failed')
    }
    const failed = options.failed === true
    await withSession(cli, async ({ db }) => {
      const conferences = await conferencesToSearch(db, options.conference)
      if (failed) return answerCount(cli, command, await replayAll(db, conferences))
      const events = await replayEach(db, conferences, ids)
      answer(cli, command, { data: events }, (paint) => renderTable(events, EVENT_COLUMNS, paint))
    })
  })
}

function answerCount(cli: Cli, command: Command, count: number): void {
  const what = count === 1 ? '1 event is' : `${count} events are`
  answer(cli, command, { replayed: count }, () => `${what} due again.\n`)
}

async function replayAll(db: Db, conferences: readonly Caller[]): Promise<number> {
  let count = 0
  for (const { conferenceId } of conferences) {
    count += await withTenant(db, { conferenceId }, (trx) => replayFailed(trx, conferenceId))
  }
  return count
}

async function replayEach(
  db: Db,
  conferences: readonly Caller[],
  ids: readonly string[],
): Promise<EventBody[]> {
  const events: EventBody[] = []
  for (const id of ids) {
    const row = await inOwner(db, conferences, `event: ${id}`, (trx, { conferenceId }) =>
      replayEvent(trx, conferenceId, id),
    )
    events.push(toStripeEventBody(row))
  }
  return events
}
