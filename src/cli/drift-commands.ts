import type { Command } from 'commander'
import { z } from 'zod'
import { withTenant } from '../db/tenant-scope.ts'
import { type DriftLine, type DriftSummary, NO_DRIFT } from '../mirror/drift/drift-line.ts'
import { toMirrorStateBody } from '../mirror/drift/drift-schemas.ts'
import { liveDrift } from '../mirror/drift/live-drift.ts'
import { type DriftSubject, listMirrorDrift } from '../mirror/drift/mirror-drift.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import { systemClock, timestampInput } from '../shared/time.ts'
import { DriftFound } from './cli-errors.ts'
import { conferencesToSearch, type Session, searchConferences, withSession } from './cli-session.ts'
import { addCommand, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, renderTable } from './table.ts'
import type { Paint } from './terminal.ts'

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
      'Compare purchases with the mirror or with Stripe, and show how to repair each difference',
    details:
      'Changes nothing. If something differs, the exit code is 1. With --live, purchases and their ' +
      'payments, refunds and disputes are read from Stripe one by one, within ' +
      'STRIPE_REQUESTS_PER_SECOND, and are also compared with the mirror.',
    examples: [
      ['drift --conference devconf', 'compare with the mirror, without requests to Stripe'],
      [
        'drift --conference devconf --live',
        `compare purchases of the last ${DAYS} days with Stripe`,
      ],
      ['drift --live --purchase bp_V1StGXR8Z5jdHi6BmyT7a', 'compare one purchase with Stripe'],
    ],
  })
    .option('--conference <slug|id>', 'only this one (default: all conferences)')
    .option('--purchase <id>', 'only this purchase')
    .option('--live', 'compare with Stripe instead of the mirror')
    .option(
      '--since <time>',
      `with --live: only purchases created since this time (RFC 3339; default: ${DAYS} days ago)`,
    )
    .option('--limit <number>', 'maximum number of printed lines per conference (default: 1000)')

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

/** The named conference or all; for a purchase, the conference that owns it. */
async function conferencesOf(
  { db, purchases }: Session,
  { conference, purchase }: Input,
): Promise<Caller[]> {
  const conferences = await conferencesToSearch(db, conference)
  if (purchase === undefined) return conferences
  const owner = await searchConferences(conferences, `purchase: ${purchase}`, async (caller) => {
    await purchases.getBulkPurchase(caller, purchase)
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
    // A conference without a Stripe key is skipped, unless it was named.
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

/** The result of the comparison for one conference. */
type ConferenceDrift = {
  conference: string
  summary: DriftSummary
  lines: DriftLine[]
  /** There are more lines than the limit. */
  hasMore: boolean
  /** Null: compared with Stripe itself. */
  mirror: ReturnType<typeof toMirrorStateBody> | null
  /** How many purchases were read from Stripe; null: compared with the mirror. */
  purchasesRead: number | null
}

const PAGE = 1_000

/** Compares with the mirror, page by page. */
async function mirrorDriftOf(
  { db }: Pick<Session, 'db'>,
  { conferenceId }: Caller,
  { purchase, limit }: { purchase: string | undefined; limit: number },
): Promise<ConferenceDrift> {
  const subject: DriftSubject = { conferenceId, conference: conferenceId }
  const ask = (cursor: string | undefined, more: number) =>
    withTenant(db, subject, (trx) =>
      listMirrorDrift(trx, subject, { purchase }, { limit: Math.min(PAGE, more), cursor }),
    )
  const first = await ask(undefined, limit)
  const lines = [...first.data]
  let next = first.next_cursor
  while (next !== null && lines.length < limit) {
    const page = await ask(next, limit - lines.length)
    lines.push(...page.data)
    next = page.next_cursor
  }
  return {
    conference: conferenceId,
    summary: first.summary ?? NO_DRIFT,
    lines,
    hasMore: next !== null,
    mirror: toMirrorStateBody(first.mirror),
    purchasesRead: null,
  }
}

/** Compares with Stripe itself. Lines above the limit are counted but not kept. */
async function liveDriftOf(
  session: Pick<Session, 'db' | 'clients' | 'logger'>,
  { conferenceId }: Caller,
  options: { purchase: string | undefined; since: Date; limit: number; signal: AbortSignal },
): Promise<ConferenceDrift> {
  const { purchase, since, limit, signal } = options
  const subject: DriftSubject = { conferenceId, conference: conferenceId }
  const summary = { ...NO_DRIFT }
  const lines: DriftLine[] = []
  let purchasesRead = 0
  const steps = liveDrift(session, subject, {
    since: purchase === undefined ? since : null,
    purchase: purchase ?? null,
    signal,
  })
  for await (const step of steps) {
    purchasesRead += step.purchases
    for (const line of step.lines) summary[line.kind] += 1
    lines.push(...step.lines.slice(0, limit - lines.length))
  }
  const total = summary.missing + summary.extra + summary.different
  return {
    conference: conferenceId,
    summary,
    lines,
    hasMore: total > lines.length,
    mirror: null,
    purchasesRead,
  }
}

const DRIFT_COLUMNS: readonly Column<DriftLine>[] = [
  {
    head: 'KIND',
    cell: ({ kind }) => kind,
    paint: ({ kind }, paint) => (kind === 'missing' ? paint.yellow : paint.red),
  },
  { head: 'WHAT', cell: whatOf },
  { head: 'PURCHASE', cell: ({ purchase }) => purchase },
  { head: 'STRIPE ID', cell: ({ stripe_id }) => stripe_id },
  { head: 'FIELD', cell: ({ field }) => field },
  { head: 'HERE', cell: ({ here }) => here },
  { head: 'THERE', cell: ({ there }) => there },
  {
    head: 'REPAIR',
    cell: ({ repair }) => repair?.command ?? 'check it in Stripe’s dashboard',
    paint: (_line, paint) => paint.dim,
  },
]

function whatOf({ what, source }: DriftLine): string {
  const name = what.replaceAll('_', ' ')
  return source === 'mirror' ? `${name} in the mirror` : name
}

/** Each conference: resources that cannot be compared, then the lines, then the sums. */
function renderDrift(found: readonly ConferenceDrift[], paint: Paint): string {
  if (found.length === 0) return 'There is nothing to compare.\n'
  return found.map((one) => renderOne(one, paint)).join('\n')
}

function renderOne(drift: ConferenceDrift, paint: Paint): string {
  const { conference, lines } = drift
  return [
    `${paint.bold(conference)}\n`,
    ...unsyncedText(drift, paint),
    ...(lines.length === 0 ? [] : [renderTable(lines, DRIFT_COLUMNS, paint)]),
    `${sumText(drift, paint)}\n`,
  ].join('')
}

function unsyncedText({ mirror }: ConferenceDrift, paint: Paint): string[] {
  const unsynced = Object.entries(mirror ?? {}).filter(([, state]) => state.synced_at === null)
  if (unsynced.length === 0) return []
  const names = unsynced.map(([name]) => name.replaceAll('_', ' ')).join(', ')
  const commands = unsynced.map(([, { repair }]) => `  ${repair?.command ?? ''}\n`)
  return [
    paint.yellow(`Not compared reliably, because a full sync has never run: ${names}. First run\n`),
    ...commands,
  ]
}

function sumText(
  { summary, lines, hasMore, purchasesRead }: ConferenceDrift,
  paint: Paint,
): string {
  const { missing, extra, different } = summary
  const purchases = purchasesRead === 1 ? 'purchase' : 'purchases'
  const read = purchasesRead === null ? '' : ` ${purchasesRead} ${purchases} read from Stripe.`
  if (missing + extra + different === 0) return `${paint.green('No differences.')}${read}`
  const shown = hasMore ? ` The first ${lines.length} lines are shown.` : ''
  return `${missing} missing, ${extra} extra, ${different} different.${shown}${read}`
}
