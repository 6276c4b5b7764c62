import type { Command } from 'commander'
import { findConferenceNames } from '../conferences/conference-store.ts'
import type { Db } from '../db/connect.ts'
import { withoutIdempotencyKey } from '../db/idempotency-runner.ts'
import { withSystem } from '../db/tenant-scope.ts'
import type {
  BulkPurchaseService,
  PurchaseBody,
  TransitionBody,
} from '../purchases/bulk-purchase-service.ts'
import { FLAG_CODES, PURCHASE_STATUSES } from '../purchases/purchase-machine.ts'
import { listAllPurchasesQuery, PURCHASE_SORTS } from '../purchases/purchase-schemas.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import { formatMoney } from '../shared/money.ts'
import { type Problem, toFailure, toProblem, UsageError } from './cli-errors.ts'
import {
  allPages,
  CLI_ACTOR,
  conferencesToSearch,
  findConference,
  type Session,
  searchConferences,
  withSession,
} from './cli-session.ts'
import { addCommand, addPageOptions, answer, type Cli, parseInput, toFields } from './command.ts'
import {
  type Column,
  momentText,
  PROBLEM_COLUMN,
  renderFields,
  renderPage,
  renderTable,
} from './table.ts'
import type { Paint } from './terminal.ts'

/** `purchases:list` */
export function addPurchasesList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:list',
    summary: 'List purchases of a conference or of all',
    examples: [
      ['purchases:list --conference devconf --flag any', 'purchases that staff must look at'],
      [
        'purchases:list --conference devconf --status PENDING --sort oldest',
        'orders without a payment page, the oldest first',
      ],
      ['purchases:list --q BULK-ACME-7KQ2MWPX4TR9', 'the purchase of this code, in any conference'],
      [
        'purchases:list --conference devconf --status PROCESSING',
        'purchases that wait for a payment',
      ],
      [
        'purchases:list --conference devconf --created-after 2027-01-01T00:00:00Z --json',
        'purchases of this year as JSON',
      ],
      [
        'purchases:list --conference devconf --status PAID --csv > paid.csv',
        'all paid purchases, for a spreadsheet',
      ],
    ],
  })
    .option('--conference <slug|id>', 'only this one (default: all conferences)')
    .option('--status <status>', `one of: ${PURCHASE_STATUSES.join(', ')}`)
    .option('--flag <flag>', `only with this open flag; any, or one of: ${FLAG_CODES.join(', ')}`)
    .option('--sponsor <slug|id>', 'only purchases of this sponsor (id, slug or external id)')
    .option('--ticket-type <id>', 'only purchases of this ticket type')
    .option('--created-after <time>', 'only purchases created after this time (RFC 3339)')
    .option('--created-before <time>', 'only purchases created before this time (RFC 3339)')
    .option(
      '--q <text>',
      'text in the id, description, reference, sponsor or payment intent; or a code',
    )
    .option('--sort <order>', `${PURCHASE_SORTS.join(' or ')} first (default: newest)`)
    .option('--csv', 'write all purchases as CSV, the same file as from the API')

  addPageOptions(command).action(async () => {
    const { csv = false, ...fields } = command.opts<{ csv?: true }>()
    const { conference, ...query } = parseInput(listAllPurchasesQuery, toFields(fields))
    const filter = { ...query, readsCodes: true }
    await withSession(cli, async ({ db, purchases }) => {
      const reader =
        conference === undefined
          ? { conferenceId: null, actor: CLI_ACTOR, sponsorId: null }
          : await findConference(db, conference)
      if (csv) {
        const lines = purchases.exportBulkPurchases(reader, filter)
        for await (const part of lines) cli.terminal.out.write(String(part))
        return
      }
      const page = await purchases.listBulkPurchases(reader, filter)
      const columns = reader.conferenceId === null ? await ofAll(db, page.data) : PURCHASE_COLUMNS
      answer(cli, command, page, (paint) => renderPage(page, columns, paint))
    })
  })
}

/** The columns of purchases of several conferences: each line begins with its slug. */
async function ofAll(db: Db, purchases: readonly PurchaseBody[]) {
  const ids = [...new Set(purchases.map(({ conference }) => conference))]
  const names = await withSystem(db, 'manage-conferences', (trx) => findConferenceNames(trx, ids))
  const slug: Column<PurchaseBody> = {
    head: 'CONFERENCE',
    cell: ({ conference }) => names.get(conference)?.slug ?? conference,
  }
  return [slug, ...PURCHASE_COLUMNS]
}

type Shown = PurchaseBody & { transitions: TransitionBody[] }

/** `purchases:show` */
export function addPurchasesShow(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:show <purchase>',
    summary: 'Show a purchase, its checkout and its history',
    details: 'With --json, the field `transitions` contains the history, oldest first.',
    examples: [
      ['purchases:show bp_V1StGXR8Z5jdHi6BmyT7a', 'searches every conference'],
      ['purchases:show bp_V1StGXR8Z5jdHi6BmyT7a --conference devconf', 'searches one conference'],
    ],
  })
  command.option('--conference <slug|id>', 'only this one (default: all conferences)')
  command.action(async (id: string, options: { conference?: string }) => {
    const shown = await withSession(cli, async ({ db, purchases }) => {
      const conferences = await conferencesToSearch(db, options.conference)
      return searchConferences(conferences, 'purchase', (caller) => load(purchases, caller, id))
    })
    answer(cli, command, shown, (paint) => render(shown, paint))
  })
}

async function load(purchases: BulkPurchaseService, caller: Caller, id: string): Promise<Shown> {
  const purchase = await purchases.getBulkPurchase(caller, id)
  return { ...purchase, transitions: await purchaseTimeline(purchases, caller, id) }
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

type Options = { conference?: string; stuck?: true; paymentIntent?: string }

/** `purchases:reconcile` */
export function addPurchasesReconcile(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:reconcile [purchase...]',
    summary: 'Re-read purchases from Stripe and update their status',
    details:
      'Does the same as a webhook. Safe to repeat, also while the service runs. If Stripe cannot be ' +
      'read for a purchase, the command continues with the others and ends with exit code 1.',
    examples: [
      ['purchases:reconcile bp_V1StGXR8Z5jdHi6BmyT7a', 'one purchase'],
      [
        'purchases:reconcile bp_V1StGXR8Z5jdHi6BmyT7a --payment-intent pi_3Ab',
        'also applies a payment that was made outside this service',
      ],
      ['purchases:reconcile --stuck', 'every PROCESSING purchase of all conferences'],
      ['purchases:reconcile --stuck --conference devconf', 'the same for one conference'],
    ],
  })
    .option('--stuck', 'reconcile every PROCESSING purchase')
    .option('--conference <slug|id>', 'only this one (default: all conferences)')
    .option(
      '--payment-intent <id>',
      'also apply this payment, whose metadata must name the purchase',
    )

  command.action(async (ids: string[], options: Options) => {
    if (ids.length > 0 === (options.stuck === true)) {
      throw new UsageError('either purchase ids or --stuck is required')
    }
    const paymentIntent = options.paymentIntent ?? null
    if (paymentIntent !== null && ids.length !== 1) {
      throw new UsageError('--payment-intent needs exactly one purchase id')
    }
    const lines = await withSession(cli, async (session) => {
      const found = await find(session, ids, options)
      const done: ReconciledLine[] = []
      for (const { caller, id } of found) {
        done.push(await tryOne(session, caller, id, paymentIntent))
      }
      return done
    })
    answer(cli, command, { data: lines }, (paint) =>
      lines.length === 0
        ? 'No purchase is PROCESSING.\n'
        : renderTable(lines, RECONCILED_COLUMNS, paint),
    )
    const failed = lines.filter(({ problem }) => problem !== null).length
    if (failed > 0) {
      throw new AppError(
        'stripe_failed',
        `${failed} of ${lines.length} purchases could not be reconciled.`,
      )
    }
  })
}

type Found = { caller: Caller; id: string }

async function find(
  { db, purchases }: Session,
  ids: readonly string[],
  options: Options,
): Promise<Found[]> {
  const conferences = await conferencesToSearch(db, options.conference)
  const found: Found[] = []
  for (const id of ids) {
    const caller = await searchConferences(conferences, `purchase: ${id}`, async (caller) => {
      await purchases.getBulkPurchase(caller, id)
      return caller
    })
    found.push({ caller, id })
  }
  if (options.stuck !== true) return found
  for (const caller of conferences) {
    for (const id of await processingOf(purchases, caller)) found.push({ caller, id })
  }
  return found
}

async function processingOf(purchases: BulkPurchaseService, caller: Caller): Promise<string[]> {
  const found = await allPages((query) =>
    purchases.listBulkPurchases(caller, { status: 'PROCESSING', sort: 'oldest', ...query }),
  )
  return found.map(({ id }) => id)
}

/** Re-reads one purchase from Stripe, as `POST …/reconcile` does. */
async function tryOne(
  { db, purchases }: Session,
  caller: Caller,
  id: string,
  paymentIntent: string | null,
): Promise<ReconciledLine> {
  try {
    const { status: before } = await purchases.getBulkPurchase(caller, id)
    const everyTime = withoutIdempotencyKey(db, caller.conferenceId)
    const purchase = await purchases.reconcileBulkPurchase(caller, id, paymentIntent, everyTime)
    return { id, before, after: purchase.status, purchase, problem: null }
  } catch (error) {
    return { id, before: null, after: null, purchase: null, problem: toProblem(toFailure(error)) }
  }
}

/** The history of a purchase, oldest first. */
async function purchaseTimeline(
  purchases: BulkPurchaseService,
  caller: Caller,
  id: string,
): Promise<TransitionBody[]> {
  const newestFirst = await allPages((query) => purchases.listTransitions(caller, id, query))
  return newestFirst.reverse()
}

const STATUS_STYLE = {
  PENDING: 'dim',
  PROCESSING: 'cyan',
  PAID: 'green',
  FAILED: 'red',
  REFUNDED: 'yellow',
} as const satisfies Record<PurchaseBody['status'], keyof Paint>

function paintStatus(status: PurchaseBody['status'], paint: Paint) {
  return paint[STATUS_STYLE[status]]
}

const flagsOf = ({ flags }: PurchaseBody) => flags.map(({ code }) => code).join(',')

const codesOf = ({ vouchers: { active, issued } }: PurchaseBody) =>
  issued === 0 ? null : `${active}/${issued}`

const PURCHASE_COLUMNS: readonly Column<PurchaseBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  {
    head: 'STATUS',
    cell: ({ status }) => status,
    paint: ({ status }, paint) => paintStatus(status, paint),
  },
  { head: 'SPONSOR', cell: ({ sponsor_name }) => sponsor_name },
  { head: 'TICKET', cell: ({ ticket_name }) => ticket_name },
  { head: 'QTY', cell: ({ quantity }) => quantity, align: 'right' },
  {
    head: 'TOTAL',
    cell: ({ total_amount, currency }) => formatMoney(total_amount, currency),
    align: 'right',
  },
  { head: 'CODES', cell: codesOf, align: 'right' },
  { head: 'FLAGS', cell: flagsOf, paint: (_row, paint) => paint.yellow },
  { head: 'CREATED (UTC)', cell: ({ created_at }) => momentText(created_at) },
  { head: 'FOR', cell: ({ description }) => description },
]

const named = (id: string | null, name: string | null) => (id === null ? null : `${name} (${id})`)

/** A purchase, one field per line. */
function purchaseFields(body: PurchaseBody) {
  const money = (amount: number) => formatMoney(amount, body.currency)
  const { vouchers: codes } = body
  return [
    ['id', body.id],
    ['status', body.status],
    ['conference', body.conference],
    ['sponsor', named(body.sponsor, body.sponsor_name)],
    ['ticket', named(body.ticket_type ?? body.add_on, body.ticket_name)],
    ['for', body.description],
    ['reference', body.reference],
    ['price', `${body.quantity} × ${money(body.unit_amount)} = ${money(body.total_amount)}`],
    ['received', money(body.amount_received)],
    ['refunded', money(body.amount_refunded)],
    ['payment intent', body.payment_intent],
    ['failure', body.failure === null ? null : `${body.failure.code}: ${body.failure.message}`],
    [
      'codes',
      `${codes.issued} issued: ${codes.active} active, ${codes.frozen} frozen, ` +
        `${codes.deactivated} deactivated; ${codes.redeemed} redeemed, ${codes.remaining} remaining`,
    ],
    ['flags', body.flags.map(({ code, detail }) => `${code} (${detail})`).join('; ')],
    ['allowed actions', body.allowed_actions.join(', ')],
    ['requested by', body.requested_by_name ?? body.requested_by],
    ['approved by', body.approved_by_name ?? body.approved_by],
    ['created (UTC)', momentText(body.created_at)],
    ['paid (UTC)', momentText(body.paid_at)],
    ['refunded (UTC)', momentText(body.refunded_at)],
  ] as const
}

/** The latest checkout of a purchase, one field per line. */
function checkoutFields(checkout: NonNullable<PurchaseBody['checkout']>) {
  return [
    ['attempt', checkout.attempt],
    ['session', checkout.session_id],
    ['expires (UTC)', momentText(checkout.expires_at)],
    ['address', checkout.url],
  ] as const
}

/** The columns of a purchase's history. */
const TIMELINE_COLUMNS: readonly Column<TransitionBody>[] = [
  { head: 'WHEN (UTC)', cell: ({ created_at }) => momentText(created_at) },
  { head: 'WHAT', cell: ({ event }) => event },
  { head: 'FROM', cell: ({ from }) => from },
  { head: 'TO', cell: ({ to }) => to, paint: ({ to }, paint) => paintStatus(to, paint) },
  { head: 'WHY', cell: ({ code }) => code },
  { head: 'BY', cell: ({ actor }) => `${actor.kind} ${actor.name ?? actor.id}` },
  { head: 'CAUSE', cell: ({ cause }) => cause },
  { head: 'NOTE', cell: ({ note }) => note },
]

/** The result for one purchase. With a problem, the purchase is unchanged. */
type ReconciledLine = {
  id: string
  before: PurchaseBody['status'] | null
  after: PurchaseBody['status'] | null
  purchase: PurchaseBody | null
  problem: Problem | null
}

const RECONCILED_COLUMNS: readonly Column<ReconciledLine>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'BEFORE', cell: ({ before }) => before },
  { head: 'NOW', cell: ({ after }) => after },
  {
    head: 'RECEIVED',
    cell: ({ purchase }) => purchase && formatMoney(purchase.amount_received, purchase.currency),
    align: 'right',
  },
  { head: 'CODES', cell: ({ purchase }) => purchase && purchase.vouchers.issued, align: 'right' },
  PROBLEM_COLUMN,
]
