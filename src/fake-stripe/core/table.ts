import type { Row } from './rows.ts'

/**
 * Names a kind of object and carries its type, so that `account.rows(charges)` is typed without a
 * central list of kinds.
 */
export type Table<T extends Row> = {
  /** Stripe's `object` value, such as `charge`. */
  readonly name: string
  /** How Stripe's messages call it: `No such promotion code`. */
  readonly label: string
  /** Our own notes beside an object, under the same id; never found by id, never shown. */
  readonly hidden: boolean
  /** Never set; it ties the row's type to the table. */
  readonly rowType?: T
}

export function defineTable<T extends Row>(
  name: string,
  options: { hidden?: boolean; label?: string } = {},
) {
  const { hidden = false, label = name } = options
  const table: Table<T> = { name, hidden, label }
  return table
}
