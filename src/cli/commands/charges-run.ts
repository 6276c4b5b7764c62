import type { Command } from 'commander'
import { AppError } from '../../shared/errors.ts'
import type { ChargeRef } from '../../stripe/billing/charges/charge.ts'
import {
  listOpenCharges,
  type RunResult,
  runCharges,
} from '../../stripe/billing/charges/run-charges.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { CLI_ACTOR } from '../cli-actor.ts'
import { toFailure, toProblem } from '../failure.ts'
import { conferencesToSearch } from '../find-conference.ts'
import {
  type ChargedLine,
  chargedText,
  chargeSummary,
  countCharged,
} from '../output/charged-text.ts'
import { type Session, withSession } from '../with-session.ts'

/** `charges:run` */
export function addChargesRun(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'charges:run',
    summary: 'Charge the saved cards of all open charges',
    details:
      'Leaves out manual charges, and those that were declined or wait for the payer. May be ended ' +
      'and repeated at any time, also beside another run: nothing is charged twice. A line for each ' +
      'charge, then a summary. Ends with 1 when one was not paid.',
    examples: [
      ['charges:run', 'in every conference'],
      ['charges:run --conference devconf', 'in one'],
      ['charges:run --dry-run', 'what would be charged'],
    ],
  })
    .option('--conference <slug|id>', 'default: all of them')
    .option('--dry-run', 'charge nothing and tell what would be charged')

  command.action(async (options: { conference?: string; dryRun?: true }) => {
    const isJson = command.optsWithGlobals()['json'] === true
    // The session must not end with the signal: the charge that is under way has to be noted first.
    const patient = { ...cli, signal: new AbortController().signal }
    const { lines, waiting } = await withSession(patient, async (session) => {
      const refs = await find(session, options.conference)
      if (options.dryRun === true) return { lines: [], waiting: refs }
      const lines: ChargedLine[] = []
      await runCharges(session, refs, {
        actorId: CLI_ACTOR.id,
        signal: cli.signal,
        onDone(result) {
          const line = toLine(result)
          lines.push(line)
          if (!isJson) cli.terminal.err.write(chargedText(line, lines.length, refs.length))
        },
      })
      return { lines, waiting: refs.slice(lines.length) }
    })
    const body = { data: lines, summary: countCharged(lines), waiting: waiting.map(toWaiting) }
    answer(cli, command, body, (paint) => chargeSummary(lines, waiting.length, paint))
    const failed = lines.filter(({ outcome }) => outcome === 'failed').length
    if (failed > 0) {
      throw new AppError('stripe_refused', `${failed} of ${lines.length} charges were not paid.`)
    }
  })
}

async function find(session: Session, conference: string | undefined): Promise<ChargeRef[]> {
  const found: ChargeRef[] = []
  for (const { conferenceId } of await conferencesToSearch(session.db, conference)) {
    found.push(...(await listOpenCharges(session, conferenceId)))
  }
  return found
}

const toWaiting = ({ conferenceId, chargeId }: ChargeRef) => ({
  conference: conferenceId,
  charge: chargeId,
})

function toLine({ charge, error }: RunResult): ChargedLine {
  const isPaid = ['succeeded', 'refunded', 'processing'].includes(charge.status)
  return {
    id: charge.id,
    charge,
    outcome: isPaid ? 'paid' : 'failed',
    problem: error === null ? null : toProblem(toFailure(error)),
  }
}
