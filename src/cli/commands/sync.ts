import type { Command } from 'commander'
import { toSyncRunBody } from '../../stripe/sync/runs/run-schemas.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { Interrupted } from '../interrupted.ts'
import { syncSummary } from '../output/sync-text.ts'
import { toFields } from '../parse-input.ts'
import { conferenceWithKey } from '../sync/conference-with-key.ts'
import { runSyncs, type SyncResult } from '../sync/run-syncs.ts'
import { SyncFailed } from '../sync/sync-failed.ts'
import { createSyncReporter, silentReporter } from '../sync/sync-reporter.ts'
import { type SyncRequest, toSyncRequest } from '../sync/sync-request.ts'
import { withSession } from '../with-session.ts'

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
    const request = toSyncRequest(names, toFields(command.opts()))
    const results = await sync(cli, command, request)
    answer(cli, command, toBody(results), (paint) => syncSummary(results, paint))
    if (cli.signal.aborted) throw new Interrupted()
    const failed = results.filter(({ run }) => run?.state !== 'succeeded')
    if (failed.length > 0) {
      throw new SyncFailed(
        failed.map(({ resource }) => resource),
        results.length,
      )
    }
  })
}

function sync(cli: Cli, command: Command, request: SyncRequest): Promise<SyncResult[]> {
  const isJson = command.optsWithGlobals()['json'] === true
  const reporter = isJson ? silentReporter : createSyncReporter(cli.terminal.err)
  // The session must not end with the signal: the run that is under way has to be closed first.
  const patient = { ...cli, signal: new AbortController().signal }
  return withSession(patient, async (session) => {
    if (cli.signal.aborted) throw new Interrupted()
    const conferenceId = await conferenceWithKey(session.db, request.conference)
    return runSyncs(session, conferenceId, request, { reporter, signal: cli.signal })
  })
}

function toBody(results: readonly SyncResult[]) {
  return {
    data: results.flatMap(({ run }) => (run === null ? [] : [toSyncRunBody(run)])),
    problems: results.flatMap(({ resource, problem }) =>
      problem === null ? [] : [{ resource, ...problem }],
    ),
  }
}
