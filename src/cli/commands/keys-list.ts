import type { Command } from 'commander'
import { z } from 'zod'
import { toApiKeyBody } from '../../access/api-key-schemas.ts'
import { listKeys, toApiKey } from '../../access/key-store.ts'
import { withSystem, withTenant } from '../../db/tenant-scope.ts'
import { mapPage, pageQuery } from '../../http/pages.ts'
import { systemClock } from '../../shared/clock.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { keyColumns } from '../output/key-text.ts'
import { renderPage } from '../output/page-text.ts'
import { addPageOptions } from '../page-options.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { withSession } from '../with-session.ts'

const input = z.strictObject({ ...pageQuery, conference: z.string().optional() })

/** `keys:list` */
export function addKeysList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'keys:list',
    summary: 'List API keys, without their secrets',
    examples: [
      ['keys:list --conference devconf', "a conference's keys"],
      ['keys:list', "the operator's keys"],
    ],
  })
  command.option('--conference <slug|id>', "default: the operator's keys")
  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(input, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      if (conference === undefined) {
        return withSystem(db, 'manage-conferences', (trx) => listKeys(trx, null, query))
      }
      const { conferenceId } = await findConference(db, conference)
      return withTenant(db, { conferenceId }, (trx) => listKeys(trx, conferenceId, query))
    })
    const body = mapPage(page, (row) => toApiKeyBody(toApiKey(row), null))
    answer(cli, command, body, (paint) => renderPage(body, keyColumns(systemClock.now()), paint))
  })
}
