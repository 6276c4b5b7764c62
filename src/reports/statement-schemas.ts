import { z } from 'zod'
import { timestamp } from '../shared/time.ts'
import type { Account, EntryType } from './book-orders.ts'

const day = (description: string) => z.iso.date().max(10).optional().meta({ description })

export const statementQuery = z
  .strictObject({
    from: day('The first day, in UTC. Default: the day of the first entry.'),
    to: day('The last day, in UTC. Default: today.'),
  })
  .refine(({ from, to }) => from === undefined || to === undefined || from <= to, {
    path: ['to'],
    message: 'must not be before from',
  })

export type StatementQuery = z.infer<typeof statementQuery>

const ENTRY_TYPES = [
  'order',
  'cancellation',
  'credit',
  'payment',
  'refund',
  'refund_failed',
  'dispute',
  'dispute_won',
] as const satisfies readonly EntryType[]

const entrySchema = z
  .object({
    date: timestamp.meta({ description: 'When the service booked the entry.' }),
    type: z.enum(ENTRY_TYPES).meta({
      description:
        '`order`: the total of an order. `cancellation`: takes it back, because the order failed or was cancelled. `credit`: the sponsor owes less, because a refund or a lost dispute deactivated codes, or staff accepted another amount; positive when that is undone. `payment`, `refund`: money that moved. `dispute`: a lost dispute. `refund_failed`, `dispute_won`: the money came back to the conference.',
    }),
    purchase: z.string().nullable(),
    charge: z.string().nullable(),
    description: z.string(),
    reference: z.string().nullable().meta({
      description:
        "Of an order: the sponsor's reference. Of money: the id at Stripe, or the reference that staff recorded, such as a line of the bank statement.",
    }),
    method: z.string().nullable().meta({
      description:
        '`stripe`, or the method of a recorded payment. Null for entries that are not money.',
    }),
    paid_at: timestamp
      .nullable()
      .meta({ description: 'When the money of a recorded payment arrived.' }),
    amount: z.int().meta({ description: 'Minor units. Positive: the sponsor owes it.' }),
    balance: z.int().meta({ description: 'The balance after this entry.' }),
  })
  .meta({ id: 'StatementEntry' })

const sum = z.int()

const accountSchema = z
  .object({
    currency: z.string(),
    opening_balance: z.int().meta({ description: 'Positive: the sponsor owes it.' }),
    entries: z.array(entrySchema).meta({ description: 'Oldest first.' }),
    totals: z
      .object({ orders: sum, credits: sum, payments: sum, refunds: sum, disputes: sum })
      .meta({
        id: 'StatementTotals',
        description:
          'Sums of the entries. `orders` includes cancellations, `refunds` includes failed refunds, `disputes` includes won disputes.',
      }),
    closing_balance: z.int().meta({
      description: 'Positive: the sponsor owes it. Negative: the conference owes it.',
    }),
  })
  .meta({ id: 'StatementAccount' })

export const statementSchema = z
  .object({
    object: z.literal('sponsor_statement'),
    sponsor: z.string(),
    sponsor_name: z.string(),
    from: z.iso.date().nullable(),
    to: z.iso.date().nullable(),
    time_zone: z.literal('UTC'),
    accounts: z.array(accountSchema).meta({ description: 'One for each currency.' }),
  })
  .meta({ id: 'SponsorStatement' })

export type StatementBody = z.infer<typeof statementSchema>
export type AccountBody = StatementBody['accounts'][number]

const TOTAL_OF: Record<EntryType, keyof AccountBody['totals']> = {
  order: 'orders',
  cancellation: 'orders',
  credit: 'credits',
  payment: 'payments',
  refund: 'refunds',
  refund_failed: 'refunds',
  dispute: 'disputes',
  dispute_won: 'disputes',
}

const dateOf = (micros: number) => new Date(Math.floor(micros / 1000)).toISOString()

export function toAccountBody({ currency, opening, entries, closing }: Account): AccountBody {
  const totals = { orders: 0, credits: 0, payments: 0, refunds: 0, disputes: 0 }
  for (const { type, amount } of entries) totals[TOTAL_OF[type]] += amount
  return {
    currency,
    opening_balance: opening,
    entries: entries.map(({ at, type, order, reference, method, paidAt, amount, balance }) => ({
      date: dateOf(at),
      type,
      purchase: order.kind === 'purchase' ? order.id : null,
      charge: order.kind === 'charge' ? order.id : null,
      description: order.description,
      reference,
      method,
      paid_at: paidAt,
      amount,
      balance,
    })),
    totals,
    closing_balance: closing,
  }
}

/** Columns of the CSV form. The first and the last line of a currency have its opening and closing balance. */
export const STATEMENT_COLUMNS = [
  'currency',
  'date',
  'type',
  'purchase',
  'charge',
  'description',
  'reference',
  'method',
  'paid_at',
  'amount',
  'balance',
] as const

/** The lines of the CSV form. */
export function toStatementLines({ accounts }: StatementBody) {
  return accounts.flatMap(({ currency, opening_balance: opening, entries, closing_balance }) => [
    { currency, type: 'opening_balance', balance: opening },
    ...entries.map((entry) => ({ currency, ...entry })),
    { currency, type: 'closing_balance', balance: closing_balance },
  ])
}
