import type { Command } from 'commander'
import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { readFrom } from '../db/read-replica.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import { activateVoucher, deactivateVoucher } from '../vouchers/change-voucher-state.ts'
import { type ExportFormat, exportVouchers } from '../vouchers/export-vouchers.ts'
import { redeemVoucher, releaseRedemption } from '../vouchers/redeem-voucher.ts'
import { confirmRedemption } from '../vouchers/redemption-holds.ts'
import { toVoucherBody, type Voucher } from '../vouchers/voucher.ts'
import { getBatch } from '../vouchers/voucher-batch-store.ts'
import {
  redeemBody,
  toRedemptionBody,
  toVoucherFilter,
  voucherQuery,
} from '../vouchers/voucher-schemas.ts'
import { getVoucher, listVouchers } from '../vouchers/voucher-store.ts'
import { type Problem, toFailure, toProblem, UsageError } from './cli-errors.ts'
import { findConference, type Session, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  parseInput,
  toFields,
  wholeNumber,
} from './command.ts'
import {
  type Column,
  momentText,
  PROBLEM_COLUMN,
  renderFields,
  renderPage,
  renderTable,
} from './table.ts'

type VoucherBody = ReturnType<typeof toVoucherBody>

const listInput = voucherQuery.extend({ conference: z.string().min(1) })

/** `vouchers:list` */
export function addVouchersList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:list',
    summary: "List a conference's vouchers, newest first",
    examples: [
      ['vouchers:list --conference devconf --purchase bp_V1StGXR8Z5jdHi6BmyT7a', 'of one purchase'],
      ['vouchers:list --conference devconf --state frozen', 'frozen by a refund or a dispute'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--purchase <id>', 'only vouchers of this purchase')
    .option('--batch <id>', 'only vouchers of this batch')
    .option('--state <state>', 'active, frozen or deactivated')
    .option('--code <code>', 'only this code')
    .option('--assigned-to <email>', 'only vouchers of this person')
    .option('--used <true|false>', 'only vouchers that were redeemed, or were not')
    .option('--q <text>', "a whole code, or part of a person's name or address")

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const { filter, page } = toVoucherFilter(query)
    const found = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) =>
        listVouchers(trx, caller.conferenceId, { ...filter, sponsorId: null }, page),
      )
    })
    const body = mapPage(found, toVoucherBody)
    answer(cli, command, body, (paint) => renderPage(body, COLUMNS, paint))
  })
}

const usesOf = ({ times_used: used, uses_held: held, max_uses: max }: VoucherBody) =>
  held === 0 ? `${used}/${max}` : `${used}/${max} (${held} held)`

const COLUMNS: readonly Column<VoucherBody>[] = [
  { head: 'CODE', cell: ({ code }) => code, paint: (_voucher, paint) => paint.bold },
  {
    head: 'STATE',
    cell: ({ state }) => state,
    paint: ({ state }, paint) => (state === 'active' ? paint.green : paint.yellow),
  },
  { head: 'VALID', cell: ({ valid, invalid_reason: reason }) => (valid ? 'yes' : reason) },
  { head: 'USES', cell: usesOf, align: 'right' },
  { head: 'ASSIGNED TO', cell: ({ assigned_to: person }) => person && person.email },
  { head: 'PURCHASE', cell: ({ purchase }) => purchase },
]

/** `vouchers:show` */
export function addVouchersShow(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:show <code>',
    summary: 'Show a voucher, and whether it can be redeemed',
    examples: [['vouchers:show BULK-ACME-7KQ2M9XWPT4A --conference devconf', 'is this code good?']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (code: string, { conference }: { conference: string }) => {
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toVoucherBody(await getVoucher(trx, caller.conferenceId, code)),
      )
    })
    answer(cli, command, body, (paint) =>
      renderFields(
        [
          ['code', body.code],
          ['can be redeemed', body.valid ? 'yes' : `no: ${body.invalid_reason}`],
          ['state', body.state],
          ['uses', usesOf(body)],
          ['valid from (UTC)', momentText(body.valid_from)],
          ['valid until (UTC)', momentText(body.valid_until)],
          ['assigned to', body.assigned_to && body.assigned_to.email],
          ['code sent (UTC)', momentText(body.assigned_to && body.assigned_to.sent_at)],
          ['purchase', body.purchase],
          ['batch', body.batch],
        ],
        paint,
      ),
    )
  })
}

/** What happened to one code. */
type ChangedLine = { code: string; voucher: VoucherBody | null; problem: Problem | null }

const CHANGED_COLUMNS: readonly Column<ChangedLine>[] = [
  { head: 'CODE', cell: ({ code }) => code },
  { head: 'STATE', cell: ({ voucher }) => voucher && voucher.state },
  PROBLEM_COLUMN,
]

type ChangeState = typeof deactivateVoucher

/** `vouchers:deactivate` */
export function addVouchersDeactivate(program: Command, cli: Cli): void {
  addStateCommand(program, cli, deactivateVoucher, {
    usage: 'vouchers:deactivate <code...>',
    summary: 'Deactivate vouchers',
    details: 'Safe to repeat. If one code fails, the command continues and ends with exit code 1.',
    examples: [
      [
        'vouchers:deactivate BULK-ACME-7KQ2M9XWPT4A --conference devconf',
        'it can be activated again',
      ],
    ],
  })
}

/** `vouchers:activate` */
export function addVouchersActivate(program: Command, cli: Cli): void {
  addStateCommand(program, cli, activateVoucher, {
    usage: 'vouchers:activate <code...>',
    summary: 'Activate vouchers again',
    details: 'Refused if the money for the voucher was paid back, or a refund or dispute is open.',
    examples: [['vouchers:activate BULK-ACME-7KQ2M9XWPT4A --conference devconf', 'one voucher']],
  })
}

function addStateCommand(
  program: Command,
  cli: Cli,
  change: ChangeState,
  spec: Parameters<typeof addCommand>[1],
): void {
  const command = addCommand(program, spec).requiredOption(
    '--conference <slug|id>',
    'the conference',
  )
  command.action(async (codes: string[], { conference }: { conference: string }) => {
    const lines = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      const changed: ChangedLine[] = []
      for (const code of codes) changed.push(await changeOne(db, caller, code, change))
      return changed
    })
    answer(cli, command, { data: lines }, (paint) => renderTable(lines, CHANGED_COLUMNS, paint))
    const failed = lines.filter(({ problem }) => problem !== null).length
    if (failed > 0) {
      throw new AppError('wrong_state', `${failed} of ${lines.length} vouchers were not changed.`)
    }
  })
}

async function changeOne(
  db: Session['db'],
  caller: Caller,
  code: string,
  change: ChangeState,
): Promise<ChangedLine> {
  try {
    const voucher: Voucher = await withTenant(db, caller, (trx) =>
      change(trx, caller.conferenceId, code),
    )
    return { code, voucher: toVoucherBody(voucher), problem: null }
  } catch (error) {
    return { code, voucher: null, problem: toProblem(toFailure(error)) }
  }
}

const redeemInput = redeemBody.extend({ conference: z.string().min(1) })

/** `vouchers:redeem` */
export function addVouchersRedeem(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:redeem <code>',
    summary: 'Redeem a voucher once',
    details: 'A repeat with the same reference returns the same redemption and takes no use.',
    examples: [
      [
        'vouchers:redeem BULK-ACME-7KQ2M9XWPT4A --conference devconf --reference order-1042',
        'for an order of the ticket shop',
      ],
      [
        'vouchers:redeem BULK-ACME-7KQ2M9XWPT4A --conference devconf --reference order-1042 --hold-seconds 900',
        'only holds the use; vouchers:confirm takes it',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--reference <text>', 'your own id of the order')
    .option('--hold-seconds <number>', 'hold the use for so long instead', wholeNumber)

  command.action(async (code: string) => {
    const {
      conference,
      reference,
      hold_seconds: holdSeconds,
    } = parseInput(redeemInput, toFields(command.opts()))
    const { redemption, created } = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) =>
        redeemVoucher(trx, caller.conferenceId, {
          code,
          reference,
          actor: caller.actor,
          holdSeconds,
        }),
      )
    })
    const body = toRedemptionBody(redemption)
    const isHeld = body.status === 'held'
    const [done, before] = isHeld ? ['Held', 'Already held'] : ['Redeemed', 'Already redeemed']
    const until = isHeld ? `, until ${momentText(body.expires_at)} (UTC)` : ''
    answer(
      cli,
      command,
      body,
      () => `${created ? done : before} for ${body.reference}: ${body.id}${until}\n`,
    )
  })
}

/** `vouchers:confirm` */
export function addVouchersConfirm(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:confirm <redemption>',
    summary: 'Confirm a hold: the held use is taken',
    details: 'A hold that has ended is confirmed too if a use is still free.',
    examples: [
      ['vouchers:confirm red_V1StGXR8Z5jdHi6BmyT7a --conference devconf', 'safe to repeat'],
    ],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (id: string, { conference }: { conference: string }) => {
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toRedemptionBody(await confirmRedemption(trx, caller.conferenceId, id)),
      )
    })
    answer(cli, command, body, () => `Redeemed for ${body.reference}: ${body.id}\n`)
  })
}

/** `vouchers:release` */
export function addVouchersRelease(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:release <redemption>',
    summary: 'Release a redemption or a hold: the voucher gets the use back',
    examples: [
      ['vouchers:release red_V1StGXR8Z5jdHi6BmyT7a --conference devconf', 'safe to repeat'],
    ],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (id: string, { conference }: { conference: string }) => {
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toRedemptionBody(await releaseRedemption(trx, caller.conferenceId, id, caller.actor)),
      )
    })
    answer(cli, command, body, () => `Released ${body.id} of ${body.voucher}.\n`)
  })
}

type ExportOptions = {
  conference: string
  purchase?: string
  batch?: string
  format: ExportFormat
  assignments?: true
}

/** `vouchers:export` */
export function addVouchersExport(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:export',
    summary: 'Write all vouchers of a purchase or batch to standard output',
    examples: [
      [
        'vouchers:export --conference devconf --purchase bp_V1StGXR8Z5jdHi6BmyT7a > codes.csv',
        'the same file as from the API',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--purchase <id>', 'the purchase')
    .option('--batch <id>', 'or the batch')
    .addOption(program.createOption('--format <format>').choices(['csv', 'ndjson']).default('csv'))
    .option('--assignments', 'add the persons to the CSV')

  command.action(async (options: ExportOptions) => {
    if ((options.purchase === undefined) === (options.batch === undefined)) {
      throw new UsageError('either --purchase or --batch is required')
    }
    await withSession(cli, async (session) => {
      const caller = await findConference(session.db, options.conference)
      const batchId = await batchOf(session, caller, options)
      const rows = exportVouchers(
        readFrom(session.db),
        caller.conferenceId,
        batchId,
        options.format,
        {
          withAssignments: options.assignments === true,
        },
      )
      for await (const part of rows) cli.terminal.out.write(String(part))
    })
  })
}

/** The batch of `--purchase` or `--batch`; null: nothing was issued. */
export function batchOf(
  { db, purchases }: Session,
  caller: Caller,
  { purchase, batch = '' }: Pick<ExportOptions, 'purchase' | 'batch'>,
): Promise<string | null> {
  return withTenant(db, caller, async (trx) =>
    purchase === undefined
      ? (await getBatch(trx, caller.conferenceId, batch, null)).id
      : purchases.findVoucherBatch(trx, caller, purchase),
  )
}
