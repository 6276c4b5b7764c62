import type { Command } from 'commander'
import type { ChargeBody } from '../billing/charges/charge-schemas.ts'
import type { ChargeRef } from '../billing/charges/charge-store.ts'
import { listOpenCharges, type RunResult, runCharges } from '../billing/charges/run-charges.ts'
import { AppError } from '../shared/errors.ts'
import { formatMoney } from '../shared/money.ts'
import { type Problem, toFailure, toProblem } from './cli-errors.ts'
import { CLI_ACTOR, conferencesToSearch, type Session, withLongSession } from './cli-session.ts'
import { addCommand, answer, type Cli, wantsJson } from './command.ts'
import { type Paint, plainText } from './terminal.ts'

/** `charges:run` */
export function addChargesRun(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'charges:run',
    summary: 'Charge the saved cards of all open charges',
    details:
      'Skips manual charges, charges that were declined or that Stripe refused, and charges that need ' +
      'authentication by the cardholder; the summary counts those that failed. ' +
      'Can be interrupted and repeated at any time, also while another run is active: no charge is ' +
      'charged twice. Prints a line for each charge, then a summary. If a charge was not paid, the ' +
      'exit code is 1.',
    examples: [
      ['charges:run', 'charges the open charges of all conferences'],
      ['charges:run --conference devconf', 'the same for one conference'],
      ['charges:run --dry-run', 'prints what would be charged'],
    ],
  })
    .option('--conference <slug|id>', 'only this one (default: all conferences)')
    .option('--dry-run', 'charge nothing, print what would be charged')

  command.action(async (options: { conference?: string; dryRun?: true }) => {
    const isJson = wantsJson(command)
    const { lines, waiting, skipped } = await withLongSession(cli, async (session) => {
      const { refs, skipped } = await find(session, options.conference)
      if (options.dryRun === true) return { lines: [], waiting: refs, skipped }
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
      return { lines, waiting: refs.slice(lines.length), skipped }
    })
    const summary = { ...countCharged(lines), skipped }
    const body = { data: lines, summary, waiting: waiting.map(toWaiting) }
    answer(cli, command, body, (paint) => chargeSummary(lines, waiting.length, skipped, paint))
    const failed = lines.filter(({ outcome }) => outcome === 'failed').length
    if (failed > 0) {
      throw new AppError('stripe_refused', `${failed} of ${lines.length} charges were not paid.`)
    }
  })
}

async function find(session: Session, conference: string | undefined) {
  const found: { refs: ChargeRef[]; skipped: number } = { refs: [], skipped: 0 }
  for (const { conferenceId } of await conferencesToSearch(session.db, conference)) {
    const { refs, skipped } = await listOpenCharges(session, conferenceId)
    found.refs.push(...refs)
    found.skipped += skipped
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

/** The result of one charge of a run. */
type ChargedLine = {
  id: string
  charge: ChargeBody
  /** A bank debit that is still processing counts as paid. */
  outcome: 'paid' | 'failed'
  problem: Problem | null
}

/** `3/12 chg_… 12.34 EUR declined: Your card has insufficient funds.` */
function chargedText({ id, charge, problem }: ChargedLine, done: number, all: number): string {
  const { failure } = charge
  const why = problem?.detail ?? failure?.message ?? null
  const said = why === null ? '' : `: ${plainText(why)}`
  const money = formatMoney(charge.amount, charge.currency)
  return `${done}/${all} ${id} ${money} ${charge.status}${said}\n`
}

const skippedText = (skipped: number) =>
  skipped === 0 ? '' : `, ${skipped} skipped (failed earlier; staff decide)`

/** How many charges were paid and not paid, and the sums by currency. */
function countCharged(lines: readonly ChargedLine[]) {
  const paid = lines.filter(({ outcome }) => outcome === 'paid')
  const amounts: Record<string, number> = {}
  for (const { charge } of paid) {
    amounts[charge.currency] = (amounts[charge.currency] ?? 0) + charge.amount
  }
  return { paid: paid.length, failed: lines.length - paid.length, amounts }
}

/**
 * The summary of a run, then each charge that was not paid. Charges that failed in an earlier run are only
 * counted, so that new failures stay visible.
 */
function chargeSummary(
  lines: readonly ChargedLine[],
  waiting: number,
  skipped: number,
  paint: Paint,
): string {
  const { paid, failed, amounts } = countCharged(lines)
  const sums = Object.entries(amounts).map(([currency, sum]) => formatMoney(sum, currency))
  const text = [
    `${paid} paid${sums.length === 0 ? '' : ` (${sums.join(', ')})`}, ${failed} failed, ${waiting} waiting${skippedText(skipped)}\n`,
  ]
  for (const line of lines.filter(({ outcome }) => outcome === 'failed')) {
    const why = line.problem?.detail ?? line.charge.failure?.message ?? line.charge.status
    text.push(`  ${paint.red(line.id)} ${line.charge.status}: ${plainText(why)}\n`)
  }
  return text.join('')
}
