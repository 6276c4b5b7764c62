import type { Command } from 'commander'
import { withTenant } from '../../db/tenant-scope.ts'
import { mapPage } from '../../http/pages.ts'
import { runQuery, toSyncRunBody } from '../../stripe/sync/runs/run-schemas.ts'
import { listRuns } from '../../stripe/sync/runs/run-store.ts'
import { RUN_STATES } from '../../stripe/sync/runs/sync-run.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { renderPage } from '../output/page-text.ts'
import { RUN_COLUMNS } from '../output/run-text.ts'
import { addPageOptions } from '../page-options.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { conferenceWithKey } from '../sync/conference-with-key.ts'
import { withSession } from '../with-session.ts'

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
    .option('--state <state>', RUN_STATES.join(', '))

  addPageOptions(command).action(async () => {
    const { conference, ...fields } = toFields(command.opts())
    const { resource, state, ...query } = parseInput(runQuery, fields)
    const page = await withSession(cli, async ({ db }) => {
      const reference = typeof conference === 'string' ? conference : undefined
      const conferenceId = await conferenceWithKey(db, reference)
      return withTenant(db, { conferenceId }, (trx) =>
        listRuns(trx, conferenceId, { resource, state }, query),
      )
    })
    const body = mapPage(page, toSyncRunBody)
    answer(cli, command, body, (paint) => renderPage(page, RUN_COLUMNS, paint))
  })
}
