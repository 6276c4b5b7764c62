import type { Row } from './rows.ts'
import type { Scope } from './scope.ts'
import type { Table } from './table.ts'

/**
 * Replaces some fields of the row as it is now, not as the caller last saw it.
 *
 * @throws Error when there is no such row.
 */
export function changeRow<T extends Row>(
  { account }: Scope,
  table: Table<T>,
  id: string,
  patch: Partial<T>,
): T {
  const rows = account.rows(table)
  const row = rows.get(id)
  if (row === undefined) throw new Error(`${table.name} ${id} does not exist`)
  return rows.replace({ ...row, ...patch })
}
