import type { Command } from 'commander'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { SYNC_RUN_STATES, type SyncRun } from '../mirror/runs/sync-run.ts'
import { syncRunQuery, toSyncRunBody } from '../mirror/runs/sync-run-schemas.ts'
import { cancelSyncRun, listSyncRuns } from '../mirror/runs/sync-run-store.ts'
import { toTimestamp } from '../shared/time.ts'
import { conferencesToSearch, conferenceWithKey, inOwner, withSession } from './cli-session.ts'
import { addCommand, addPageOptions, answer, type Cli, parseInput, toFields } from './command.ts'
import { performSync, toSyncRequest } from './perform-sync.ts'
import { RUN_STATE_STYLE, secondsText } from './sync-report.ts'
import { type Column, momentText, renderPage } from './table.ts'

/** `sync` */
export function addSync(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sync <resource...>',
    summary: 'Sync some or all resources of the mirror from Stripe',
    details:
      'Runs in this process; it can be interrupted and repeated at any time. If the process is killed, ' +
      'a worker resumes the run. Objects deleted at Stripe are marked as deleted; for more than 20 % ' +
      'of all objects, --force is required. With --json, the field `problems` lists the resources that ' +
      'could not be started. If a resource is not synced, the command continues with the others and ' +
      'ends with exit code 1.',
    examples: [
      ['sync all', 'all resources of the only conference with a Stripe key'],
      ['sync customers payment-methods --conference devconf', 'two resources'],
      ['sync coupons --dry-run', 'prints what would change and be deleted'],
      ['sync customers --ids cus_1,cus_2', 'only these objects'],
      ['sync charges --since 2027-01-01', 'only objects created since then; deletes nothing'],
    ],
  })
    .option('--conference <slug|id>', 'the conference (default: the only one with a Stripe key)')
    .option('--ids <ids>', 'only these objects, separated by commas')
    .option('--since <time>', 'only objects created since this time: a date (UTC) or RFC 3339')
    .option('--dry-run', 'change nothing, print what would change')
    .option('--force', 'mark objects as deleted even if they are more than 20 %')

  command.action(async (names: string[]) => {
    await performSync(cli, command, toSyncRequest(names, toFields(command.opts())))
  })
}

/** `sync:runs` */
export function addSyncRuns(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sync:runs',
    summary: "List a conference's sync runs, newest first",
    examples: [
      ['sync:runs', 'of the only conference with a Stripe key'],
      ['sync:runs --conference devconf --state failed', 'failed runs of one conference'],
      [
        'sync:runs --conference devconf --resource customers --json',
        'runs of one resource as JSON',
      ],
    ],
  })
    .option('--conference <slug|id>', 'the conference (default: the only one with a Stripe key)')
    .option('--resource <resource>', 'only runs of this resource, for example customers')
    .option('--state <state>', `one of: ${SYNC_RUN_STATES.join(', ')}`)

  addPageOptions(command).action(async () => {
    const { conference, ...fields } = toFields(command.opts())
    const { resource, state, ...query } = parseInput(syncRunQuery, fields)
    const page = await withSession(cli, async ({ db }) => {
      const reference = typeof conference === 'string' ? conference : undefined
      const conferenceId = await conferenceWithKey(db, reference)
      return withTenant(db, { conferenceId }, (trx) =>
        listSyncRuns(trx, conferenceId, { resource, state }, query),
      )
    })
    const body = mapPage(page, toSyncRunBody)
    answer(cli, command, body, (paint) => renderPage(page, RUN_COLUMNS, paint))
  })
}

/** `sync:cancel` */
export function addSyncCancel(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sync:cancel <run>',
    summary: 'Cancel a sync run',
    details:
      'The run ends after the page that it is storing, in any process. Stored objects are kept.',
    examples: [['sync:cancel sync_2fG7hQx0RkLmN4pTyVbWz', 'searches every conference']],
  })
  command.option('--conference <slug|id>', 'only this one (default: all conferences)')
  command.action(async (runId: string, options: { conference?: string }) => {
    const run = await withSession(cli, async ({ db }) => {
      const conferences = await conferencesToSearch(db, options.conference)
      return inOwner(db, conferences, `sync run: ${runId}`, (trx, { conferenceId }) =>
        cancelSyncRun(trx, { conferenceId, runId }),
      )
    })
    answer(cli, command, toSyncRunBody(run), () => `Cancelled ${run.id} of ${run.resource}.\n`)
  })
}

/** The columns of a list of sync runs. */
const RUN_COLUMNS: readonly Column<SyncRun>[] = [
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
  { head: 'CREATED (UTC)', cell: ({ createdAt }) => momentText(toTimestamp(createdAt)) },
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
