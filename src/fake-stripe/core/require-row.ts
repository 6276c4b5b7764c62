import { NotPossible } from './not-possible.ts'
import type { Row } from './rows.ts'
import type { Scope } from './scope.ts'
import type { Table } from './table.ts'

/** A row by its id. @throws NotPossible when there is none. */
export function requireRow<T extends Row>(
  { account }: Scope,
  table: Table<T>,
  id: string | null | undefined,
): T {
  const row = id ? account.rows(table).get(id) : undefined
  if (row === undefined) throw new NotPossible(`There is no ${table.name} ${id}`)
  return row
}
