import type { Command } from 'commander'
import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { listPurchases } from '../../purchases/list-purchases.ts'
import { FLAG_CODES } from '../../purchases/purchase-flags.ts'
import { PURCHASE_STATUSES } from '../../purchases/purchase-machine.ts'
import { listPurchasesQuery } from '../../purchases/purchase-schemas.ts'
import type { PurchaseBody } from '../../purchases/purchase-view.ts'
import { findSponsor } from '../../sponsors/sponsor-store.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { renderPage } from '../output/page-text.ts'
import { purchaseColumns } from '../output/purchase-text.ts'
import { addPageOptions } from '../page-options.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { withSession } from '../with-session.ts'

const input = listPurchasesQuery.extend({ conference: z.string().min(1) })

/** `purchases:list` */
export function addPurchasesList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:list',
    summary: "List a conference's purchases, newest first",
    examples: [
      ['purchases:list --conference devconf --flag any', 'what waits for staff'],
      ['purchases:list --conference devconf --status PROCESSING', 'what waits for money'],
      [
        'purchases:list --conference devconf --created-after 2027-01-01T00:00:00Z --json',
        "this year's, for a script",
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'whose')
    .option('--status <status>', PURCHASE_STATUSES.join(', '))
    .option('--flag <flag>', `with this open flag: any, ${FLAG_CODES.join(', ')}`)
    .option('--sponsor <slug|id>', 'of this sponsor: id, slug or external id')
    .option('--ticket-type <id>', 'for this ticket type')
    .option('--created-after <time>', 'RFC 3339')
    .option('--created-before <time>', 'RFC 3339')
    .option('--q <text>', 'in id, description, reference, sponsor or payment intent')

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(input, toFields(command.opts()))
    const { page, sponsors } = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) => {
        const page = await listPurchases(trx, caller, query)
        return { page, sponsors: await sponsorNames(trx, caller.conferenceId, page.data) }
      })
    })
    answer(cli, command, page, (paint) => renderPage(page, purchaseColumns(sponsors), paint))
  })
}

async function sponsorNames(
  trx: Tx,
  conferenceId: string,
  purchases: readonly PurchaseBody[],
): Promise<Map<string, string>> {
  const names = new Map<string, string>()
  for (const id of new Set(purchases.flatMap(({ sponsor }) => sponsor ?? []))) {
    const sponsor = await findSponsor(trx, conferenceId, id)
    if (sponsor !== null) names.set(id, sponsor.slug)
  }
  return names
}
