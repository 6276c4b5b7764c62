import type { Command } from 'commander'
import { z } from 'zod'
import { withTenant } from '../../db/tenant-scope.ts'
import { mapPage } from '../../http/pages.ts'
import { eventQuery, toStripeEventBody } from '../../stripe/inbox/event-schemas.ts'
import { EVENT_STATUSES, listEvents } from '../../stripe/inbox/event-store.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { EVENT_COLUMNS } from '../output/event-text.ts'
import { renderPage } from '../output/page-text.ts'
import { addPageOptions } from '../page-options.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { withSession } from '../with-session.ts'

const input = eventQuery.extend({ conference: z.string().min(1) })

/** `events:list` */
export function addEventsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'events:list',
    summary: "List a conference's events from Stripe, the last received first",
    examples: [
      ['events:list --conference devconf --status failed', 'what waits for a replay'],
      ['events:list --conference devconf --type charge.refunded', 'of one type'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'whose')
    .option('--status <status>', EVENT_STATUSES.join(', '))
    .option('--type <type>', 'such as refund.created')

  addPageOptions(command).action(async () => {
    const { conference, status, type, ...query } = parseInput(input, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const { conferenceId } = await findConference(db, conference)
      return withTenant(db, { conferenceId }, (trx) =>
        listEvents(trx, conferenceId, { status, type }, query),
      )
    })
    const body = mapPage(page, toStripeEventBody)
    answer(cli, command, body, (paint) => renderPage(body, EVENT_COLUMNS, paint))
  })
}
