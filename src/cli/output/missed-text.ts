import type { Problem } from '../failure.ts'
import type { Column } from './table.ts'

/** What a comparison with Stripe's list found for one conference. */
export type MissedLine = {
  conference: string
  /** Events that Stripe listed. */
  listed: number | null
  /** Taken in now, and work for us. */
  missing: number | null
  /** Taken in now, and none of ours. */
  ignored: number | null
  /** Another process compares at this moment, so this one did nothing. */
  running: boolean
  problem: Problem | null
}

export const MISSED_COLUMNS: readonly Column<MissedLine>[] = [
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'LISTED', cell: ({ listed }) => listed, align: 'right' },
  { head: 'MISSING', cell: ({ missing }) => missing, align: 'right' },
  { head: 'IGNORED', cell: ({ ignored }) => ignored, align: 'right' },
  { head: 'REMARK', cell: remarkOf },
]

function remarkOf({ running, problem }: MissedLine): string | null {
  if (running) return 'another process compares right now'
  return problem === null ? null : `${problem.detail} (${problem.code})`
}
