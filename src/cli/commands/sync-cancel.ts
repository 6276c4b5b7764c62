import type { Command } from 'commander'
import { toSyncRunBody } from '../../stripe/sync/runs/run-schemas.ts'
import { cancelRun } from '../../stripe/sync/runs/run-store.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { conferencesToSearch, inOwner } from '../find-conference.ts'
import { withSession } from '../with-session.ts'

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
        cancelRun(trx, { conferenceId, runId }),
      )
    })
    answer(cli, command, toSyncRunBody(run), () => `Cancelled ${run.id} of ${run.resource}.\n`)
  })
}
