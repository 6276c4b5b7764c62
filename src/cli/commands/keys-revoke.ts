import type { Command } from 'commander'
import { revokeKey } from '../../access/key-store.ts'
import type { Db } from '../../db/connect.ts'
import { withSystem } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { allConferences, inOwner } from '../find-conference.ts'
import { withSession } from '../with-session.ts'

/** `keys:revoke` */
export function addKeysRevoke(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'keys:revoke <key>',
    summary: 'Revoke an API key at once',
    details: 'Revoking it again changes nothing.',
    examples: [['keys:revoke key_V1StGXR8Z5jdHi6BmyT7a', 'by its id, not by its text']],
  })
  command.action(async (id: string) => {
    await withSession(cli, ({ db }) => revoke(db, id))
    answer(cli, command, { id, revoked: true }, () => `Revoked ${id}.\n`)
  })
}

async function revoke(db: Db, id: string): Promise<void> {
  try {
    await withSystem(db, 'manage-conferences', (trx) => revokeKey(trx, null, id))
  } catch (error) {
    // Not the operator's; so one conference's.
    if (!(error instanceof AppError && error.code === 'not_found')) throw error
    await inOwner(db, await allConferences(db), 'API key', (trx, { conferenceId }) =>
      revokeKey(trx, conferenceId, id),
    )
  }
}
