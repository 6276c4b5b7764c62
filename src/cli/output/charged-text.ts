import { formatMoney } from '../../shared/money.ts'
import type { ChargeBody } from '../../stripe/billing/charges/charge-view.ts'
import type { Problem } from '../failure.ts'
import type { Paint } from './paint.ts'
import { plainText } from './plain-text.ts'

/** What became of one charge of a run. */
export type ChargedLine = {
  id: string
  charge: ChargeBody
  /** A bank debit that is under way counts as paid. */
  outcome: 'paid' | 'failed'
  problem: Problem | null
}

/** `3/12 chg_… 12.34 EUR declined: Your card has insufficient funds.` */
export function chargedText(
  { id, charge, problem }: ChargedLine,
  done: number,
  all: number,
): string {
  const { failure } = charge
  const why = problem?.detail ?? failure?.message ?? null
  const said = why === null ? '' : `: ${plainText(why)}`
  const money = formatMoney(charge.amount, charge.currency)
  return `${done}/${all} ${id} ${money} ${charge.status}${said}\n`
}

/** How many were paid and not, and the sums by currency. */
export function countCharged(lines: readonly ChargedLine[]) {
  const paid = lines.filter(({ outcome }) => outcome === 'paid')
  const amounts: Record<string, number> = {}
  for (const { charge } of paid) {
    amounts[charge.currency] = (amounts[charge.currency] ?? 0) + charge.amount
  }
  return { paid: paid.length, failed: lines.length - paid.length, amounts }
}

/** The end of a run, then each charge that was not paid. */
export function chargeSummary(
  lines: readonly ChargedLine[],
  waiting: number,
  paint: Paint,
): string {
  const { paid, failed, amounts } = countCharged(lines)
  const sums = Object.entries(amounts).map(([currency, sum]) => formatMoney(sum, currency))
  const text = [
    `${paid} paid${sums.length === 0 ? '' : ` (${sums.join(', ')})`}, ${failed} failed, ${waiting} waiting\n`,
  ]
  for (const line of lines.filter(({ outcome }) => outcome === 'failed')) {
    const why = line.problem?.detail ?? line.charge.failure?.message ?? line.charge.status
    text.push(`  ${paint.red(line.id)} ${line.charge.status}: ${plainText(why)}\n`)
  }
  return text.join('')
}
