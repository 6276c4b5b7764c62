import type { Command } from 'commander'
import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { Caller } from '../../http/caller.ts'
import { listPurchases } from '../../purchases/list-purchases.ts'
import { viewPurchase } from '../../purchases/purchase-view.ts'
import { AppError } from '../../shared/errors.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { toFailure, toProblem } from '../failure.ts'
import { conferencesToSearch, inOwner } from '../find-conference.ts'
import { RECONCILED_COLUMNS, type ReconciledLine } from '../output/reconciled-text.ts'
import { renderTable } from '../output/table.ts'
import { reconcileOne } from '../reconcile-one.ts'
import { UsageError } from '../usage-error.ts'
import { type Session, withSession } from '../with-session.ts'

type Options = { conference?: string; stuck?: true; paymentIntent?: string }

/** `purchases:reconcile` */
export function addPurchasesReconcile(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:reconcile [purchase...]',
    summary: 'Read purchases anew from Stripe and move them there',
    details:
      'What a webhook would have done. Safe to repeat, and beside a running service. ' +
      'Ends with 1 when Stripe could not be read for one of them; the others are done.',
    examples: [
      ['purchases:reconcile bp_V1StGXR8Z5jdHi6BmyT7a', 'one purchase'],
      [
        'purchases:reconcile bp_V1StGXR8Z5jdHi6BmyT7a --payment-intent pi_3Ab',
        'with a payment that it does not know yet, such as one taken by hand',
      ],
      ['purchases:reconcile --stuck', 'every purchase that is PROCESSING, in all conferences'],
      ['purchases:reconcile --stuck --conference devconf', 'in one conference'],
    ],
  })
    .option('--stuck', 'every purchase that is PROCESSING')
    .option('--conference <slug|id>', 'default: all of them')
    .option('--payment-intent <id>', 'also look at this payment, which must name the purchase')

  command.action(async (ids: string[], options: Options) => {
    if (ids.length > 0 === (options.stuck === true)) {
      throw new UsageError('name purchases, or give --stuck')
    }
    const paymentIntent = options.paymentIntent ?? null
    if (paymentIntent !== null && ids.length !== 1) {
      throw new UsageError('--payment-intent is of one purchase: name that one')
    }
    const lines = await withSession(cli, async (session) => {
      const found = await find(session.db, ids, options)
      const done: ReconciledLine[] = []
      for (const { caller, id } of found) {
        done.push(await tryOne(session, caller, id, paymentIntent))
      }
      return done
    })
    answer(cli, command, { data: lines }, (paint) =>
      lines.length === 0 ? 'Nothing waits.\n' : renderTable(lines, RECONCILED_COLUMNS, paint),
    )
    const failed = lines.filter(({ problem }) => problem !== null).length
    if (failed > 0) {
      throw new AppError('stripe_failed', `${failed} of ${lines.length} could not be reconciled.`)
    }
  })
}

type Found = { caller: Caller; id: string }

async function find(db: Db, ids: readonly string[], options: Options): Promise<Found[]> {
  const conferences = await conferencesToSearch(db, options.conference)
  const found: Found[] = []
  for (const id of ids) {
    const caller = await inOwner(db, conferences, `purchase: ${id}`, async (trx, caller) => {
      await viewPurchase(trx, caller, id)
      return caller
    })
    found.push({ caller, id })
  }
  if (options.stuck !== true) return found
  for (const caller of conferences) {
    for (const id of await processingOf(db, caller)) found.push({ caller, id })
  }
  return found
}

async function processingOf(db: Db, caller: Caller): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const query = { status: 'PROCESSING', limit: 100, cursor } as const
    const page = await withTenant(db, caller, (trx) => listPurchases(trx, caller, query))
    ids.push(...page.data.map(({ id }) => id))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return ids
}

async function tryOne(
  session: Session,
  caller: Caller,
  id: string,
  paymentIntent: string | null,
): Promise<ReconciledLine> {
  try {
    const { before, purchase } = await reconcileOne(session, caller, id, paymentIntent)
    return { id, before, after: purchase.status, purchase, problem: null }
  } catch (error) {
    return { id, before: null, after: null, purchase: null, problem: toProblem(toFailure(error)) }
  }
}
