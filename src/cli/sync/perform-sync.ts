import type { Command } from 'commander'
import { toSyncRunBody } from '../../stripe/sync/runs/run-schemas.ts'
import { answer, type Cli } from '../cli.ts'
import { Interrupted } from '../interrupted.ts'
import { syncSummary } from '../output/sync-text.ts'
import { withSession } from '../with-session.ts'
import { conferenceWithKey } from './conference-with-key.ts'
import { runSyncs, type SyncResult } from './run-syncs.ts'
import { SyncFailed } from './sync-failed.ts'
import { createSyncReporter, silentReporter } from './sync-reporter.ts'
import type { SyncRequest } from './sync-request.ts'

/**
 * What a command that syncs does, from its checked arguments to its answer.
 *
 * @throws SyncFailed when a resource did not succeed; Interrupted.
 */
export async function performSync(cli: Cli, command: Command, request: SyncRequest): Promise<void> {
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
