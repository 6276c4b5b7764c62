import type { Command } from 'commander'
import { z } from 'zod'
import {
  CATALOG_KINDS,
  type CatalogItem,
  type CatalogKind,
  changeItem,
  createItem,
  listItems,
  toCatalogItem,
} from '../catalog/catalog-items.ts'
import { catalogSchemas, toCatalogBody } from '../catalog/catalog-schemas.ts'
import { getConference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { formatMoney } from '../shared/money.ts'
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

type ItemBody = ReturnType<typeof toCatalogBody>

/** `ticket-types:create`, `…:update` and `…:list`, and the same of add-ons. */
export function addCatalogCommands(program: Command, cli: Cli): void {
  for (const kind of ['ticket_type', 'add_on'] as const) {
    addCreate(program, cli, kind)
    addUpdate(program, cli, kind)
    addList(program, cli, kind)
  }
}

const EXAMPLE_NAMES: Record<CatalogKind, string> = { ticket_type: 'Corporate', add_on: 'Workshop' }
const EXAMPLE_IDS: Record<CatalogKind, string> = {
  ticket_type: 'tkt_V1StGXR8Z5jdHi6BmyT7a',
  add_on: 'add_V1StGXR8Z5jdHi6BmyT7a',
}

function addCreate(program: Command, cli: Cli, kind: CatalogKind): void {
  const { path, withArticle } = CATALOG_KINDS[kind]
  const { createBody } = catalogSchemas(kind)
  const input = createBody.extend({ conference: z.string().min(1) })
  const command = addCommand(program, {
    usage: `${path}:create`,
    summary: `Create ${withArticle}`,
    examples: [
      [
        `${path}:create --conference devconf --name ${EXAMPLE_NAMES[kind]} --price 25000 --bulk-enabled`,
        '250.00, which sponsors can buy',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--name <name>', 'the name that sponsors see')
    .requiredOption('--price <number>', "minor units of the conference's currency", wholeNumber)
    .option('--bulk-enabled', 'sponsors can see it and buy it in bulk')

  addSaleOptions(command).action(async () => {
    const { conference, ...item } = parseInput(input, toFields(command.opts()))
    await writeItem(cli, command, conference, (trx, conferenceId) =>
      createItem(trx, conferenceId, kind, item),
    )
  })
}

function addUpdate(program: Command, cli: Cli, kind: CatalogKind): void {
  const { path, withArticle } = CATALOG_KINDS[kind]
  const { updateBody } = catalogSchemas(kind)
  const input = updateBody.extend({ conference: z.string().min(1) })
  const command = addCommand(program, {
    usage: `${path}:update <id>`,
    summary: `Change ${withArticle}`,
    details: 'Existing purchases keep their price and terms.',
    examples: [
      [
        `${path}:update ${EXAMPLE_IDS[kind]} --conference devconf --no-bulk-enabled`,
        'sponsors can no longer buy it',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--name <name>', 'the name that sponsors see')
    .option('--price <number>', "minor units of the conference's currency", wholeNumber)
    .option('--bulk-enabled', 'sponsors can see it and buy it in bulk')
    .option('--no-bulk-enabled', 'they cannot')

  addSaleOptions(command).action(async (id: string) => {
    const { conference, ...changes } = parseInput(input, toFields(command.opts()))
    await writeItem(cli, command, conference, (trx, conferenceId) =>
      changeItem(trx, conferenceId, kind, id, changes),
    )
  })
}

function addSaleOptions(command: Command): Command {
  return command
    .option('--description <text>', 'more about it')
    .option('--active-from <time>', 'start of the sale (RFC 3339)')
    .option('--active-until <time>', 'end of the sale (RFC 3339)')
}

async function writeItem(
  cli: Cli,
  command: Command,
  conference: string,
  write: (trx: Tx, conferenceId: string) => Promise<CatalogItem>,
): Promise<void> {
  const { body, currency } = await withSession(cli, async ({ db }) => {
    const caller = await findConference(db, conference)
    return withTenant(db, caller, async (trx) => ({
      body: toCatalogBody(await write(trx, caller.conferenceId)),
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
}

const listInput = z.strictObject({ ...pageQuery, conference: z.string().min(1) })

function addList(program: Command, cli: Cli, kind: CatalogKind): void {
  const { path, noun } = CATALOG_KINDS[kind]
  const command = addCommand(program, {
    usage: `${path}:list`,
    summary: `List a conference's ${noun}s, newest first`,
    examples: [[`${path}:list --conference devconf`, 'with their prices']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const { page, currency } = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      const { conferenceId } = caller
      return withTenant(db, caller, async (trx) => ({
        page: await listItems(trx, conferenceId, kind, { bulkEnabledOnly: false }, query),
        currency: (await getConference(trx, conferenceId)).currency,
      }))
    })
    const body = mapPage(page, (row) => toCatalogBody(toCatalogItem(kind, row)))
    answer(cli, command, body, (paint) => renderPage(body, columns(currency), paint))
  })
}

const columns = (currency: string): readonly Column<ItemBody>[] => [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'NAME', cell: ({ name }) => name, paint: (_item, paint) => paint.bold },
  { head: 'PRICE', cell: ({ price }) => formatMoney(price, currency), align: 'right' },
  { head: 'BULK', cell: ({ bulk_enabled: enabled }) => (enabled ? 'yes' : 'no') },
]
