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
    summary: 'Make the mirror of Stripe equal to Stripe, for some resources or for all',
    details:
      'Works in this process and may be ended and repeated at any time; when the process is killed, ' +
      'a working process goes on with the run. What is gone at Stripe becomes a tombstone; more than ' +
      'a fifth at once only with --force. With --json the answer also has the member problems: the ' +
      'resources that could not be begun. Ends with 1 when one did not succeed; the others are done.',
    examples: [
      ['sync all', 'everything, of the only conference with a Stripe key'],
      ['sync customers payment-methods --conference devconf', 'two resources'],
      ['sync coupons --dry-run', 'what would change and be deleted'],
      ['sync customers --ids cus_1,cus_2', 'these only'],
      ['sync charges --since 2027-01-01', 'what was created since then; deletes nothing'],
    ],
  })
    .option('--conference <slug|id>', 'default: the only one with a Stripe key')
    .option('--ids <ids>', 'only these objects, separated by commas')
    .option('--since <time>', 'only what was created from then on: a date (UTC) or RFC 3339')
    .option('--dry-run', 'change nothing and tell what would change')
    .option('--force', 'delete whatever is gone at Stripe, however much it is')

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
      ['sync:runs --conference devconf --state failed', 'what went wrong'],
      ['sync:runs --conference devconf --resource customers --json', 'for a script'],
    ],
  })
    .option('--conference <slug|id>', 'default: the only one with a Stripe key')
    .option('--resource <resource>', 'such as customers')
    .option('--state <state>', SYNC_RUN_STATES.join(', '))

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
      'It ends with the page that is being stored, whoever works on it. What is stored stays.',
    examples: [['sync:cancel sync_2fG7hQx0RkLmN4pTyVbWz', 'looks in every conference']],
  })
  command.option('--conference <slug|id>', 'default: all of them')
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

/** A run that fills the mirror. */
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
