import type { Problem } from '../failure.ts'
import type { Column } from './table.ts'

/** What a check of the webhooks of one conference found. */
export type CheckLine = {
  conference: string
  /** Recent events that Stripe listed. */
  listed: number | null
  /** Events that Stripe says it could not deliver. */
  undelivered: number | null
  /** Events that we did not have and that are work for us. */
  missing: number | null
  /** Their ids, as many as people look at. */
  missing_ids: string[]
  /** Events that we did not have and need not. */
  ignored: number | null
  /** Whether the missing ones were taken in. */
  ingested: boolean
  alarming: boolean
  /** Another process compares at this moment, so this one did nothing. */
  running: boolean
  problem: Problem | null
}

export const CHECK_COLUMNS: readonly Column<CheckLine>[] = [
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'LISTED', cell: ({ listed }) => listed, align: 'right' },
  { head: 'UNDELIVERED', cell: ({ undelivered }) => undelivered, align: 'right' },
  { head: 'MISSING', cell: ({ missing }) => missing, align: 'right' },
  { head: 'IGNORED', cell: ({ ignored }) => ignored, align: 'right' },
  { head: 'REMARK', cell: remarkOf },
]

function remarkOf({ running, problem, alarming, ingested, missing }: CheckLine): string | null {
  if (running) return 'another process compares right now'
  if (problem !== null) return `${problem.detail} (${problem.code})`
  const fate = ingested ? 'taken in' : 'only counted'
  if (alarming) return `${fate}; more than the threshold: check the endpoint at Stripe`
  return missing === null || missing === 0 ? null : fate
}
