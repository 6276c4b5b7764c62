import type { Command } from 'commander'
import { z } from 'zod'
import { createItem, listItems, toCatalogItem } from '../catalog/catalog-items.ts'
import { catalogSchemas, toCatalogBody } from '../catalog/catalog-schemas.ts'
import { getConference } from '../conferences/conference-store.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { formatMoney } from '../shared/money.ts'
import { findConference, withSession } from './cli-session.ts'
import { addCommand, addPageOptions, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, renderFields, renderPage } from './table.ts'

const { createBody } = catalogSchemas('ticket_type')

const createInput = createBody.extend({ conference: z.string().min(1) })

type ItemBody = ReturnType<typeof toCatalogBody>

/** `ticket-types:create` */
export function addTicketTypesCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'ticket-types:create',
    summary: 'Create a ticket type',
    examples: [
      [
        'ticket-types:create --conference devconf --name Corporate --price 25000 --bulk-enabled',
        '250.00, which sponsors can buy',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--name <name>', 'the name that sponsors see')
    .requiredOption('--price <number>', "minor units of the conference's currency", Number)
    .option('--bulk-enabled', 'sponsors can see it and buy it in bulk')
    .option('--description <text>', 'more about it')
    .option('--active-from <time>', 'start of the sale (RFC 3339)')
    .option('--active-until <time>', 'end of the sale (RFC 3339)')

  command.action(async () => {
    const { conference, ...item } = parseInput(createInput, toFields(command.opts()))
    const { body, currency } = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) => ({
        body: toCatalogBody(await createItem(trx, caller.conferenceId, 'ticket_type', item)),
        currency: (await getConference(trx, caller.conferenceId)).currency,
      }))
    })
    answer(cli, command, body, (paint) =>
      renderFields(
        [
          ['id', body.id],
          ['name', body.name],
          ['price', formatMoney(body.price, currency)],
          ['sponsors can buy it', body.bulk_enabled ? 'yes' : 'no'],
        ],
        paint,
      ),
    )
  })
}

const listInput = z.strictObject({ ...pageQuery, conference: z.string().min(1) })

/** `ticket-types:list` */
export function addTicketTypesList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'ticket-types:list',
    summary: "List a conference's ticket types, newest first",
    examples: [['ticket-types:list --conference devconf', 'with their prices']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const { page, currency } = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) => ({
        page: await listItems(
          trx,
          caller.conferenceId,
          'ticket_type',
          { bulkEnabledOnly: false },
          query,
        ),
        currency: (await getConference(trx, caller.conferenceId)).currency,
      }))
    })
    const body = mapPage(page, (row) => toCatalogBody(toCatalogItem('ticket_type', row)))
    answer(cli, command, body, (paint) => renderPage(body, columns(currency), paint))
  })
}

const columns = (currency: string): readonly Column<ItemBody>[] => [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'NAME', cell: ({ name }) => name, paint: (_item, paint) => paint.bold },
  { head: 'PRICE', cell: ({ price }) => formatMoney(price, currency), align: 'right' },
  { head: 'BULK', cell: ({ bulk_enabled: enabled }) => (enabled ? 'yes' : 'no') },
]
