import type { Command } from 'commander'
import { AppError } from '../../shared/errors.ts'
import { createEventInbox } from '../../stripe/inbox/event-inbox.ts'
import { findMissedEvents } from '../../stripe/inbox/missed-events.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { toFailure, toProblem } from '../failure.ts'
import { conferencesToSearch } from '../find-conference.ts'
import { MISSED_COLUMNS, type MissedLine } from '../output/missed-text.ts'
import { renderTable } from '../output/table.ts'
import { type Session, withSession } from '../with-session.ts'

/** `events:find-missed` */
export function addEventsFindMissed(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'events:find-missed',
    summary: "Compare Stripe's list of events with ours and take in what is missing",
    details:
      'What the timer of a working process does every few minutes. Ends with 1 when Stripe could ' +
      'not be read for one of the conferences; the others are done.',
    examples: [
      ['events:find-missed', 'for every conference'],
      ['events:find-missed --conference devconf', 'for one'],
    ],
  })
  command.option('--conference <slug|id>', 'default: all of them with a Stripe key')
  command.action(async (options: { conference?: string }) => {
    const lines = await withSession(cli, async (session) => {
      const lines: MissedLine[] = []
      for (const { conferenceId } of await conferencesToSearch(session.db, options.conference)) {
        const line = await tryOne(session, conferenceId)
        // Without a key there is nothing to compare with, which matters only to who asked for it.
        const isKeyless = line.problem?.code === 'stripe_key_missing'
        if (!isKeyless || options.conference !== undefined) lines.push(line)
      }
      return lines
    })
    answer(cli, command, { data: lines }, (paint) =>
      lines.length === 0
        ? 'No conference has a Stripe key.\n'
        : renderTable(lines, MISSED_COLUMNS, paint),
    )
    const failed = lines.filter(({ problem }) => problem !== null).length
    if (failed > 0) {
      throw new AppError('stripe_failed', `${failed} of ${lines.length} could not be compared.`)
    }
  })
}

async function tryOne(session: Session, conference: string): Promise<MissedLine> {
  const inbox = createEventInbox(session)
  const none = { listed: null, missing: null, ignored: null }
  try {
    const found = await findMissedEvents({ ...session, inbox }, conference)
    return { conference, ...none, ...found, running: found === null, problem: null }
  } catch (error) {
    return { conference, ...none, running: false, problem: toProblem(toFailure(error)) }
  }
}
