import type { Command } from 'commander'
import { z } from 'zod'
import type { Caller } from '../../http/caller.ts'
import { timestampInput } from '../../http/common-schemas.ts'
import { viewPurchase } from '../../purchases/purchase-view.ts'
import { systemClock } from '../../shared/clock.ts'
import { AppError } from '../../shared/errors.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { DriftFound } from '../drift-found.ts'
import { type ConferenceDrift, liveDriftOf, mirrorDriftOf } from '../drift-of.ts'
import { conferencesToSearch, inOwner } from '../find-conference.ts'
import { renderDrift } from '../output/drift-text.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { type Session, withSession } from '../with-session.ts'

const DAYS = 30

const input = z.strictObject({
  conference: z.string().min(1).optional(),
  purchase: z.string().min(1).optional(),
  live: z.literal(true).optional(),
  since: timestampInput.optional(),
  limit: z.coerce.number().int().min(1).max(100_000).default(1_000),
})

type Input = z.output<typeof input>

/** `drift` */
export function addDrift(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'drift',
    summary:
      'Compare purchases with the mirror or with Stripe, and tell what repairs each difference',
    details:
      'Changes nothing. Ends with 1 when something differs. With --live purchases, their payments, ' +
      'refunds and disputes are read from Stripe one by one within STRIPE_REQUESTS_PER_SECOND, and ' +
      'compared with the mirror too.',
    examples: [
      ['drift --conference devconf', 'against the mirror; asks Stripe nothing'],
      ['drift --conference devconf --live', `against Stripe, purchases of the last ${DAYS} days`],
      ['drift --live --purchase bp_V1StGXR8Z5jdHi6BmyT7a', 'one purchase against Stripe'],
    ],
  })
    .option('--conference <slug|id>', 'default: all of them')
    .option('--purchase <id>', 'one purchase')
    .option('--live', 'compare with Stripe instead of the mirror')
    .option('--since <time>', `with --live: purchases made since, RFC 3339 (${DAYS} days ago)`)
    .option('--limit <number>', 'lines to print for a conference (1000); all are counted')

  command.action(async () => {
    const given = parseInput(input, toFields(command.opts()))
    const found = await withSession(cli, (session) => compare(session, given, cli.signal))
    answer(cli, command, bodyOf(found), (paint) => renderDrift(found, paint))
    const total = found.reduce((sum, { summary }) => sum + linesIn(summary), 0)
    if (total > 0) throw new DriftFound(total)
  })
}

const linesIn = ({ missing, extra, different }: ConferenceDrift['summary']) =>
  missing + extra + different

async function compare(
  session: Session,
  given: Input,
  signal: AbortSignal,
): Promise<ConferenceDrift[]> {
  const found: ConferenceDrift[] = []
  for (const caller of await conferencesOf(session, given)) {
    const one = await compareOne(session, caller, given, signal)
    if (one !== null) found.push(one)
  }
  return found
}

/** Those that are named; of a purchase its own. */
async function conferencesOf({ db }: Session, { conference, purchase }: Input): Promise<Caller[]> {
  const conferences = await conferencesToSearch(db, conference)
  if (purchase === undefined) return conferences
  const owner = await inOwner(db, conferences, `purchase: ${purchase}`, async (trx, caller) => {
    await viewPurchase(trx, caller, purchase)
    return caller
  })
  return [owner]
}

async function compareOne(
  session: Session,
  caller: Caller,
  { live, conference, purchase, since, limit }: Input,
  signal: AbortSignal,
): Promise<ConferenceDrift | null> {
  if (live !== true) return mirrorDriftOf(session, caller, { purchase, limit })
  const bound = since ?? new Date(systemClock.now().getTime() - DAYS * 86_400_000)
  try {
    return await liveDriftOf(session, caller, { purchase, since: bound, limit, signal })
  } catch (error) {
    // Without a key there is nothing to compare with, which matters only to who asked for it.
    const isKeyless = error instanceof AppError && error.code === 'stripe_key_missing'
    if (isKeyless && conference === undefined && purchase === undefined) return null
    throw error
  }
}

function bodyOf(found: readonly ConferenceDrift[]) {
  return {
    data: found.map(({ conference, summary, mirror, purchasesRead, hasMore, lines }) => ({
      conference,
      summary,
      mirror,
      purchases_read: purchasesRead,
      has_more: hasMore,
      lines,
    })),
  }
}
