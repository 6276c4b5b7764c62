import { toTimestamp } from '../../http/common-schemas.ts'
import type { SyncRun } from '../../stripe/sync/runs/sync-run.ts'
import { momentText } from './moment-text.ts'
import { RUN_STATE_STYLE, secondsText } from './sync-text.ts'
import type { Column } from './table.ts'

/** A run that fills the mirror. */
export const RUN_COLUMNS: readonly Column<SyncRun>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'RESOURCE', cell: ({ resource }) => resource },
  {
    head: 'STATE',
    cell: ({ state }) => state,
    paint: ({ state }, paint) => paint[RUN_STATE_STYLE[state]],
  },
  { head: 'BY', cell: ({ startedBy }) => startedBy },
  { head: 'FETCHED', cell: ({ counts }) => counts.fetched, align: 'right' },
  { head: 'CREATED', cell: ({ counts }) => counts.created, align: 'right' },
  { head: 'UPDATED', cell: ({ counts }) => counts.updated, align: 'right' },
  { head: 'DELETED', cell: ({ counts }) => counts.deleted, align: 'right' },
  { head: 'FAILED', cell: ({ counts }) => counts.failed, align: 'right' },
  { head: 'ASKED FOR (UTC)', cell: ({ createdAt }) => momentText(toTimestamp(createdAt)) },
  { head: 'SECONDS', cell: secondsText, align: 'right' },
  { head: 'REMARK', cell: remarkOf },
]

function remarkOf({ options, error }: SyncRun): string | null {
  const parts = [
    ...(options.dryRun ? ['dry run'] : []),
    ...(options.ids === null ? [] : [`${options.ids.length} ids`]),
    ...(options.since === null ? [] : [`since ${momentText(toTimestamp(options.since))}`]),
    ...(error === null ? [] : [`${error.message} (${error.code})`]),
  ]
  return parts.length === 0 ? null : parts.join('; ')
}
