import type { z } from 'zod'
import type { stripeEventSchema } from '../../stripe/inbox/event-schemas.ts'
import { momentText } from './moment-text.ts'
import type { Paint } from './paint.ts'
import type { Column } from './table.ts'

export type EventBody = z.infer<typeof stripeEventSchema>

const STATUS_STYLE = {
  pending: 'cyan',
  done: 'green',
  ignored: 'dim',
  failed: 'red',
} as const satisfies Record<EventBody['status'], keyof Paint>

/** An event of Stripe and what became of it. */
export const EVENT_COLUMNS: readonly Column<EventBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'TYPE', cell: ({ type }) => type },
  {
    head: 'STATUS',
    cell: ({ status }) => status,
    paint: ({ status }, paint) => paint[STATUS_STYLE[status]],
  },
  { head: 'TRIES', cell: ({ attempts }) => attempts, align: 'right' },
  { head: 'RECEIVED (UTC)', cell: ({ received_at }) => momentText(received_at) },
  { head: 'PURCHASE', cell: ({ purchase }) => purchase },
  { head: 'LAST ERROR', cell: ({ last_error }) => last_error },
]
