import type { Command } from 'commander'
import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { createLevel, listLevels, toLevel } from '../sponsors/sponsor-levels.ts'
import { createLevelBody, toLevelBody } from '../sponsors/sponsor-schemas.ts'
import { findConference, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  parseInput,
  toFields,
  wholeNumber,
} from './command.ts'
import { type Column, renderFields, renderPage } from './table.ts'

type LevelBody = ReturnType<typeof toLevelBody>

const createInput = createLevelBody.extend({ conference: z.string().min(1) })

/** `sponsor-levels:create` */
export function addSponsorLevelsCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sponsor-levels:create',
    summary: 'Create a sponsor level',
    examples: [
      [
        'sponsor-levels:create --conference devconf --name Gold --comp-ticket-count 5',
        'its sponsors get five complimentary vouchers',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--name <name>', 'the name of the level')
    .option('--slug <slug>', 'for addresses (default: made from the name)')
    .option('--comp-ticket-count <number>', 'vouchers for each sponsor (default: 0)', wholeNumber)

  command.action(async () => {
    const { conference, ...level } = parseInput(createInput, toFields(command.opts()))
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toLevelBody(await createLevel(trx, caller.conferenceId, level)),
      )
    })
    answer(cli, command, body, (paint) =>
      renderFields(
        [
          ['id', body.id],
          ['name', body.name],
          ['slug', body.slug],
          ['comps for each sponsor', body.comp_ticket_count],
        ],
        paint,
      ),
    )
  })
}

const listInput = z.strictObject({ ...pageQuery, conference: z.string().min(1) })

/** `sponsor-levels:list` */
export function addSponsorLevelsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sponsor-levels:list',
    summary: "List a conference's sponsor levels, newest first",
    examples: [['sponsor-levels:list --conference devconf', 'with their complimentary vouchers']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => listLevels(trx, caller.conferenceId, query))
    })
    const body = mapPage(page, (row) => toLevelBody(toLevel(row)))
    answer(cli, command, body, (paint) => renderPage(body, COLUMNS, paint))
  })
}

const COLUMNS: readonly Column<LevelBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'SLUG', cell: ({ slug }) => slug },
  { head: 'NAME', cell: ({ name }) => name, paint: (_level, paint) => paint.bold },
  { head: 'COMPS', cell: ({ comp_ticket_count: count }) => count, align: 'right' },
]
