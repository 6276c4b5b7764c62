import type { Problem } from '../failure.ts'
import type { Column } from './table.ts'

/** What a reading found of one customer. */
export type RefreshedLine = {
  id: string
  conference: string
  /** False: none was made there, or it was deleted. */
  at_stripe: boolean | null
  payment_methods: number | null
  problem: Problem | null
}

const told = ({ at_stripe: isThere }: RefreshedLine) =>
  isThere === null ? null : isThere ? 'yes' : 'no'

export const REFRESHED_COLUMNS: readonly Column<RefreshedLine>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'AT STRIPE', cell: told },
  { head: 'CARDS', cell: ({ payment_methods: cards }) => cards, align: 'right' },
  {
    head: 'PROBLEM',
    cell: ({ problem }) => problem && `${problem.detail} (${problem.code})`,
    paint: ({ problem }, paint) => (problem === null ? paint.dim : paint.red),
  },
]

/** `3/120 cust_… 2 payment methods` */
export function refreshedText(line: RefreshedLine, done: number, all: number): string {
  const { id, problem, payment_methods: methods } = line
  const found = problem === null ? `${methods ?? 0} payment methods` : problem.code
  return `${done}/${all} ${id} ${found}\n`
}
