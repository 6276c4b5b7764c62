import type { Command } from 'commander'
import type { Tx } from '../../db/connect.ts'
import type { Caller } from '../../http/caller.ts'
import { type PurchaseBody, viewPurchase } from '../../purchases/purchase-view.ts'
import type { TransitionBody } from '../../purchases/transition-view.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { conferencesToSearch, inOwner } from '../find-conference.ts'
import type { Paint } from '../output/paint.ts'
import { checkoutFields, purchaseFields } from '../output/purchase-text.ts'
import { renderFields, renderTable } from '../output/table.ts'
import { TIMELINE_COLUMNS } from '../output/timeline-text.ts'
import { purchaseTimeline } from '../purchase-timeline.ts'
import { withSession } from '../with-session.ts'

type Shown = PurchaseBody & { transitions: TransitionBody[] }

/** `purchases:show` */
export function addPurchasesShow(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:show <purchase>',
    summary: 'Show a purchase with its checkout and its history',
    details: 'With --json the history is the member transitions, oldest first.',
    examples: [
      ['purchases:show bp_V1StGXR8Z5jdHi6BmyT7a', 'looks in every conference'],
      ['purchases:show bp_V1StGXR8Z5jdHi6BmyT7a --conference devconf', 'looks in one'],
    ],
  })
  command.option('--conference <slug|id>', 'default: all of them')
  command.action(async (id: string, options: { conference?: string }) => {
    const shown = await withSession(cli, async ({ db }) => {
      const conferences = await conferencesToSearch(db, options.conference)
      return inOwner(db, conferences, 'purchase', (trx, caller) => load(trx, caller, id))
    })
    answer(cli, command, shown, (paint) => render(shown, paint))
  })
}

async function load(trx: Tx, caller: Caller, id: string): Promise<Shown> {
  const purchase = await viewPurchase(trx, caller, id)
  const ref = { conferenceId: caller.conferenceId, purchaseId: id }
  return { ...purchase, transitions: await purchaseTimeline(trx, ref) }
}

function render({ transitions, ...purchase }: Shown, paint: Paint): string {
  const { checkout } = purchase
  return [
    renderFields(purchaseFields(purchase), paint),
    `\n${paint.bold('Checkout')}\n`,
    checkout === null ? 'None yet.\n' : renderFields(checkoutFields(checkout), paint),
    `\n${paint.bold('History')}\n`,
    transitions.length === 0 ? 'None yet.\n' : renderTable(transitions, TIMELINE_COLUMNS, paint),
  ].join('')
}
