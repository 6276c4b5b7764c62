import type { Command } from 'commander'
import { z } from 'zod'
import { withoutIdempotencyKey } from '../db/idempotency-runner.ts'
import { RECORDED_METHODS } from '../payments/payment-records.ts'
import { type PurchaseBody } from '../purchases/bulk-purchase-service.ts'
import {
  approveBody,
  createPurchaseBody,
  markPaidBody,
  revokeBody,
  toNewPurchaseInput,
  toOutsidePayment,
} from '../purchases/purchase-schemas.ts'
import { type RefundPreviewBody, refundBody, toRefundInput } from '../purchases/refund-schemas.ts'
import type { Caller } from '../shared/caller.ts'
import { formatMoney } from '../shared/money.ts'
import {
  conferencesToSearch,
  findConference,
  type Session,
  searchConferences,
  withSession,
} from './cli-session.ts'
import { addCommand, answer, type Cli, parseInput, toFields, wholeNumber } from './command.ts'
import { renderFields } from './table.ts'

const createInput = createPurchaseBody.safeExtend({
  conference: z.string().min(1),
  sponsor: z.string().min(1),
})

/** `purchases:create` */
export function addPurchasesCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:create',
    summary: 'Create a purchase for a sponsor',
    details: 'With --unit-amount 0 it is free: purchases:approve issues its vouchers.',
    examples: [
      [
        'purchases:create --conference devconf --sponsor acme --ticket-type tkt_3Ab --quantity 40',
        'at the price of the ticket type',
      ],
      [
        'purchases:create --conference devconf --sponsor acme --ticket-type tkt_3Ab --quantity 5 --unit-amount 0',
        'five free vouchers, to be approved',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--sponsor <slug|id>', 'the sponsor (id, slug or external id)')
    .requiredOption('--quantity <number>', 'number of vouchers', wholeNumber)
    .option('--ticket-type <id>', 'what is bought')
    .option('--add-on <id>', 'or this add-on')
    .option('--unit-amount <number>', 'minor units for each (default: the price)', wholeNumber)
    .option('--reference <text>', "the buyer's own reference")
    .option('--description <text>', 'what is bought, for people')

  command.action(async () => {
    const { conference, ...input } = parseInput(createInput, toFields(command.opts()))
    const body = await withSession(cli, async ({ db, purchases }) => {
      const caller = await findConference(db, conference)
      const everyTime = withoutIdempotencyKey(db, caller.conferenceId)
      return purchases.createBulkPurchase(caller, toNewPurchaseInput(input), everyTime)
    })
    show(cli, command, body)
  })
}

type Act = (
  session: Session,
  caller: Caller,
  id: string,
) => Promise<PurchaseBody | RefundPreviewBody>

/** Runs an action on a purchase, which is searched in all conferences unless one is named. */
function onPurchase(
  cli: Cli,
  command: Command,
  prepare: (fields: Record<string, unknown>) => Act,
): void {
  command.option('--conference <slug|id>', 'only this one (default: all conferences)')
  command.action(async (id: string) => {
    const { conference, ...fields } = toFields(command.opts())
    const act = prepare(fields)
    const body = await withSession(cli, async (session) => {
      const where = typeof conference === 'string' ? conference : undefined
      const conferences = await conferencesToSearch(session.db, where)
      const owner = await searchConferences(conferences, `purchase: ${id}`, async (caller) => {
        await session.purchases.getBulkPurchase(caller, id)
        return caller
      })
      return act(session, owner, id)
    })
    show(cli, command, body)
  })
}

/** `purchases:approve` */
export function addPurchasesApprove(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:approve <purchase>',
    summary: 'Approve a free purchase and issue its vouchers',
    examples: [
      ['purchases:approve bp_V1StGXR8Z5jdHi6BmyT7a --quantity 5', 'fails for another quantity'],
    ],
  }).option('--quantity <number>', 'the quantity that you approve', wholeNumber)
  onPurchase(cli, command, (fields) => {
    const { quantity = null } = parseInput(approveBody, fields)
    return ({ db, purchases }, caller, id) =>
      purchases.approveComp(caller, id, quantity, withoutIdempotencyKey(db, caller.conferenceId))
  })
}

/** `purchases:revoke` */
export function addPurchasesRevoke(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:revoke <purchase>',
    summary: 'Withdraw a free purchase that was approved',
    details: 'All its vouchers become inactive. Uses of redeemed ones stay counted.',
    examples: [
      [
        'purchases:revoke bp_V1StGXR8Z5jdHi6BmyT7a --note "Wrong sponsor"',
        'the history has the note',
      ],
    ],
  }).option('--note <text>', 'the reason, for the history')
  onPurchase(cli, command, (fields) => {
    const { note = null } = parseInput(revokeBody, fields)
    return ({ db, purchases }, caller, id) =>
      purchases.revokeComp(caller, id, note, withoutIdempotencyKey(db, caller.conferenceId))
  })
}

/** `purchases:mark-paid` */
export function addPurchasesMarkPaid(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:mark-paid <purchase>',
    summary: 'Record a payment that came outside Stripe',
    details:
      'Issues the vouchers. An open payment page is closed at Stripe first; if the payer was faster, nothing ' +
      'is recorded.',
    examples: [
      [
        'purchases:mark-paid bp_V1StGXR8Z5jdHi6BmyT7a --amount 400000 --method bank_transfer --reference RE-118',
        'the total, in minor units',
      ],
    ],
  })
    .requiredOption('--amount <number>', 'the total of the purchase, in minor units', wholeNumber)
    .requiredOption('--method <method>', `one of: ${RECORDED_METHODS.join(', ')}`)
    .requiredOption('--reference <text>', 'what the bank statement, cheque or receipt says')
    .option('--paid-at <time>', 'when the money came (RFC 3339; default: now)')
    .option('--note <text>', 'for the history')
  onPurchase(cli, command, (fields) => {
    const payment = toOutsidePayment(parseInput(markPaidBody, fields))
    return ({ db, purchases }, caller, id) =>
      purchases.markPaid(caller, id, payment, withoutIdempotencyKey(db, caller.conferenceId))
  })
}

/** `purchases:cancel` */
export function addPurchasesCancel(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:cancel <purchase>',
    summary: 'Cancel a purchase that is not paid',
    examples: [['purchases:cancel bp_V1StGXR8Z5jdHi6BmyT7a', 'also closes its payment page']],
  })
  onPurchase(
    cli,
    command,
    () =>
      ({ db, purchases }, caller, id) =>
        purchases.cancelBulkPurchase(caller, id, withoutIdempotencyKey(db, caller.conferenceId)),
  )
}

/** `purchases:refund` */
export function addPurchasesRefund(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'purchases:refund <purchase>',
    summary: 'Refund a payment of a purchase',
    details:
      'The vouchers change when Stripe reports the refund: they are frozen while it is pending, and ' +
      'deactivated when it succeeds.',
    examples: [
      ['purchases:refund bp_V1StGXR8Z5jdHi6BmyT7a', 'what is not refunded yet'],
      ['purchases:refund bp_V1StGXR8Z5jdHi6BmyT7a --amount 50000', 'a part, in minor units'],
      [
        'purchases:refund bp_V1StGXR8Z5jdHi6BmyT7a --quantity 3 --preview',
        'what three codes would be',
      ],
      [
        'purchases:refund bp_V1StGXR8Z5jdHi6BmyT7a --codes ACME-7KQ2,ACME-9DT3',
        'the codes that come back',
      ],
    ],
  })
    .option('--amount <number>', 'minor units (default: what is not refunded yet)', wholeNumber)
    .option('--quantity <number>', 'the price of this many vouchers', wholeNumber)
    .option('--codes <codes>', 'the price of these vouchers, separated by commas', toCodes)
    .option('--preview', 'show what would happen, and do nothing')
    .option('--reason <reason>', 'duplicate, fraudulent or requested_by_customer')
    .option('--payment-intent <id>', 'the payment (pi_… or rp_…), if there are several')
  onPurchase(cli, command, (fields) => {
    const { preview: isPreview, ...body } = fields
    const input = toRefundInput(parseInput(refundBody, body))
    if (isPreview === true) {
      return ({ purchases }, caller, id) => purchases.previewRefund(caller, id, input)
    }
    return ({ db, purchases }, caller, id) =>
      purchases.refundBulkPurchase(
        caller,
        id,
        input,
        withoutIdempotencyKey(db, caller.conferenceId),
      )
  })
}

const toCodes = (text: string) => text.split(',').map((code) => code.trim())

function showPreview(cli: Cli, command: Command, body: RefundPreviewBody): void {
  answer(cli, command, body, (paint) =>
    renderFields(
      [
        ['payment', body.payment_intent],
        ['amount', formatMoney(body.amount, body.currency)],
        ['codes that would become inactive', String(body.quantity)],
        ['these', body.codes.join(', ') + (body.has_more ? ', …' : '')],
        ['redeemed, so missing', String(body.missing)],
      ],
      paint,
    ),
  )
}

function show(cli: Cli, command: Command, body: PurchaseBody | RefundPreviewBody): void {
  if (body.object === 'refund_preview') {
    showPreview(cli, command, body)
    return
  }
  const money = (amount: number) => formatMoney(amount, body.currency)
  const { vouchers: codes } = body
  answer(cli, command, body, (paint) =>
    renderFields(
      [
        ['id', body.id],
        ['status', body.status],
        ['for', body.description],
        ['price', `${body.quantity} × ${money(body.unit_amount)} = ${money(body.total_amount)}`],
        ['received', money(body.amount_received)],
        ['refunded', money(body.amount_refunded)],
        ['codes', `${codes.issued} issued, ${codes.active} active`],
        ['allowed actions', body.allowed_actions.join(', ')],
      ],
      paint,
    ),
  )
}
