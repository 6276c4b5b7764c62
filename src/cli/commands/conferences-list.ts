import type { Command } from 'commander'
import { z } from 'zod'
import { toConferenceBody } from '../../conferences/conference-schemas.ts'
import { listConferences, toConference } from '../../conferences/conference-store.ts'
import { withSystem } from '../../db/tenant-scope.ts'
import { mapPage, pageQuery } from '../../http/pages.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { CONFERENCE_COLUMNS } from '../output/conference-text.ts'
import { renderPage } from '../output/page-text.ts'
import { addPageOptions } from '../page-options.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { withSession } from '../with-session.ts'

/** `conferences:list` */
export function addConferencesList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'conferences:list',
    summary: 'List conferences',
    examples: [
      ['conferences:list', 'newest first'],
      ["conferences:list --json | jq -r '.data[].slug'", 'the slugs for a script'],
    ],
  })
  addPageOptions(command).action(async () => {
    const query = parseInput(z.strictObject(pageQuery), toFields(command.opts()))
    const page = await withSession(cli, ({ db }) =>
      withSystem(db, 'manage-conferences', (trx) => listConferences(trx, query)),
    )
    const body = mapPage(page, (row) => toConferenceBody(toConference(row)))
    answer(cli, command, body, (paint) => renderPage(body, CONFERENCE_COLUMNS, paint))
  })
}
