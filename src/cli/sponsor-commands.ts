import type { Command } from 'commander'
import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { createSponsor } from '../sponsors/manage-sponsors.ts'
import { findLevel } from '../sponsors/sponsor-levels.ts'
import {
  createSponsorBody,
  sponsorQuery,
  type sponsorSchema,
  toSponsorBody,
} from '../sponsors/sponsor-schemas.ts'
import { listSponsors, toSponsor } from '../sponsors/sponsor-store.ts'
import { issueComps } from '../vouchers/issue-without-purchase.ts'
import { findConference, withSession } from './cli-session.ts'
import { addCommand, addPageOptions, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, momentText, renderFields, renderPage } from './table.ts'

type SponsorBody = z.output<typeof sponsorSchema>

const createInput = createSponsorBody.extend({ conference: z.string().min(1) })

/** `sponsors:create` */
export function addSponsorsCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sponsors:create',
    summary: 'Create a sponsor',
    details: 'With a level, the complimentary vouchers of the level are issued too.',
    examples: [
      [
        'sponsors:create --conference devconf --name "Acme Robotics" --email ada@acme.example',
        'a sponsor that gets mails',
      ],
      [
        'sponsors:create --conference devconf --name Globex --level gold',
        'with the complimentary vouchers of a level',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--name <name>', 'the name of the sponsor')
    .option('--slug <slug>', 'for addresses and codes (default: made from the name)')
    .option('--email <address>', 'gets the mails about its purchases')
    .option('--level <slug|id>', 'its sponsor level')
    .option('--external-id <id>', 'its id in your own system')

  command.action(async () => {
    const { email, ...fields } = toFields(command.opts())
    const { conference, ...sponsor } = parseInput(
      createInput,
      { ...fields, contact_email: email },
      { contact_email: '--email' },
    )
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toSponsorBody(await createSponsor(trx, { issueComps }, caller, sponsor)),
      )
    })
    answer(cli, command, body, (paint) =>
      renderFields(
        [
          ['id', body.id],
          ['name', body.name],
          ['slug', body.slug],
          ['mails to', body.contact_email],
          ['comps issued (UTC)', momentText(body.comps_issued_at)],
        ],
        paint,
      ),
    )
  })
}

const listInput = sponsorQuery.extend({ conference: z.string().min(1) })

/** `sponsors:list` */
export function addSponsorsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sponsors:list',
    summary: "List a conference's sponsors, newest first",
    examples: [
      ['sponsors:list --conference devconf --q acme', 'by a part of name, slug or mail address'],
      ['sponsors:list --conference devconf --level gold --json', 'of one level, as JSON'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--q <text>', 'text in the name, slug or mail address')
    .option('--level <slug|id>', 'only sponsors of this level')
    .option('--external-id <id>', 'only the sponsor with this id in your own system')

  addPageOptions(command).action(async () => {
    const { conference, q, level, external_id, ...query } = parseInput(
      listInput,
      toFields(command.opts()),
    )
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      const { conferenceId } = caller
      return withTenant(db, caller, async (trx) => {
        const found = level === undefined ? null : await findLevel(trx, conferenceId, level)
        // An unknown level has no sponsors, as in the API.
        if (level !== undefined && found === null) {
          return { data: [], has_more: false, next_cursor: null }
        }
        const filter = { externalId: external_id, levelId: found?.id, text: q }
        return listSponsors(trx, conferenceId, filter, query)
      })
    })
    const body = mapPage(page, (row) => toSponsorBody(toSponsor(row)))
    answer(cli, command, body, (paint) => renderPage(body, COLUMNS, paint))
  })
}

const COLUMNS: readonly Column<SponsorBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'SLUG', cell: ({ slug }) => slug },
  { head: 'NAME', cell: ({ name }) => name, paint: (_sponsor, paint) => paint.bold },
  { head: 'MAILS TO', cell: ({ contact_email: email }) => email },
  { head: 'EXTERNAL ID', cell: ({ external_id: id }) => id },
  { head: 'CREATED (UTC)', cell: ({ created_at: at }) => momentText(at) },
]
