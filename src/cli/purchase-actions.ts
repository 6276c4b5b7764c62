import type { Command } from 'commander'
import { z } from 'zod'
import { withoutIdempotencyKey } from '../db/idempotency-runner.ts'
import { type PurchaseBody } from '../purchases/bulk-purchase-service.ts'
import {
  approveBody,
  createPurchaseBody,
  refundBody,
  toNewPurchaseInput,
} from '../purchases/purchase-schemas.ts'
import type { Caller } from '../shared/caller.ts'
import { formatMoney } from '../shared/money.ts'
import {
  conferencesToSearch,
  findConference,
  type Session,
  searchConferences,
  withSession,
} from './cli-session.ts'
import { addCommand, answer, type Cli, parseInput, toFields } from './command.ts'
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
    .requiredOption('--quantity <number>', 'number of vouchers', Number)
    .option('--ticket-type <id>', 'what is bought')
    .option('--add-on <id>', 'or this add-on')
    .option('--unit-amount <number>', 'minor units for each (default: the price)', Number)
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

type Act = (session: Session, caller: Caller, id: string) => Promise<PurchaseBody>

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
  }).option('--quantity <number>', 'the quantity that you approve', Number)
  onPurchase(cli, command, (fields) => {
    const { quantity = null } = parseInput(approveBody, fields)
    return ({ db, purchases }, caller, id) =>
      purchases.approveComp(caller, id, quantity, withoutIdempotencyKey(db, caller.conferenceId))
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
    ],
  })
    .option('--amount <number>', 'minor units (default: what is not refunded yet)', Number)
    .option('--reason <reason>', 'duplicate, fraudulent or requested_by_customer')
    .option('--payment-intent <id>', 'the payment, if there are several')
  onPurchase(cli, command, (fields) => {
    const { amount = null, reason = null, payment_intent = null } = parseInput(refundBody, fields)
    const input = { amount, reason, paymentIntent: payment_intent }
    return ({ db, purchases }, caller, id) =>
      purchases.refundBulkPurchase(
        caller,
        id,
        input,
        withoutIdempotencyKey(db, caller.conferenceId),
      )
  })
}

function show(cli: Cli, command: Command, body: PurchaseBody): void {
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
