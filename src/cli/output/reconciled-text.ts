import type { PurchaseBody } from '../../purchases/purchase-view.ts'
import { formatMoney } from '../../shared/money.ts'
import type { Problem } from '../failure.ts'
import type { Column } from './table.ts'

/** What a reading made of one purchase; with a problem it is as it was. */
export type ReconciledLine = {
  id: string
  before: PurchaseBody['status'] | null
  after: PurchaseBody['status'] | null
  purchase: PurchaseBody | null
  problem: Problem | null
}

export const RECONCILED_COLUMNS: readonly Column<ReconciledLine>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'BEFORE', cell: ({ before }) => before },
  { head: 'NOW', cell: ({ after }) => after },
  {
    head: 'RECEIVED',
    cell: ({ purchase }) => purchase && formatMoney(purchase.amount_received, purchase.currency),
    align: 'right',
  },
  { head: 'CODES', cell: ({ purchase }) => purchase && purchase.vouchers.issued, align: 'right' },
  {
    head: 'PROBLEM',
    cell: ({ problem }) => problem && `${problem.detail} (${problem.code})`,
    paint: ({ problem }, paint) => (problem === null ? paint.dim : paint.red),
  },
]
