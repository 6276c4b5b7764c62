import type { TransitionBody } from '../../purchases/transition-view.ts'
import { momentText } from './moment-text.ts'
import { paintStatus } from './purchase-text.ts'
import type { Column } from './table.ts'

/** A step of a purchase's history. */
export const TIMELINE_COLUMNS: readonly Column<TransitionBody>[] = [
  { head: 'WHEN (UTC)', cell: ({ created_at }) => momentText(created_at) },
  { head: 'WHAT', cell: ({ event }) => event },
  { head: 'FROM', cell: ({ from }) => from },
  { head: 'TO', cell: ({ to }) => to, paint: ({ to }, paint) => paintStatus(to, paint) },
  { head: 'BY', cell: ({ actor }) => `${actor.kind} ${actor.id}` },
  { head: 'CAUSE', cell: ({ cause }) => cause },
]
