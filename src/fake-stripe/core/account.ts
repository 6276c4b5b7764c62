import { type Row, Rows } from './rows.ts'
import type { Table } from './table.ts'

export type AccountProfile = {
  /** `acct_…` */
  id: string
  livemode: boolean
  /** ISO 3166-1 alpha-2. */
  country: string
  /** Lower-case ISO 4217. */
  defaultCurrency: string
  /** The merchant's name on the checkout page. */
  name: string
  /** Seconds since 1970. */
  created: number
}

/** One Stripe account with everything in it. Accounts share nothing. */
export class Account {
  readonly profile: AccountProfile
  #tables = new Map<string, { hidden: boolean; rows: unknown }>()

  constructor(profile: AccountProfile) {
    this.profile = profile
  }

  get id(): string {
    return this.profile.id
  }

  get livemode(): boolean {
    return this.profile.livemode
  }

  rows<T extends Row>(table: Table<T>): Rows<T> {
    const known = this.#tables.get(table.name)
    // The table's name fixes its row type; only rows<T>() ever stores under it.
    if (known !== undefined) return known.rows as Rows<T>
    const rows = new Rows<T>()
    this.#tables.set(table.name, { hidden: table.hidden, rows })
    return rows
  }

  /**
   * The public object with this id; what `expand` reads.
   *
   * @param kind looked at first: a legacy card is a payment method too, under the same id.
   */
  find(id: string, kind?: string): Row | undefined {
    const first = kind === undefined ? undefined : this.#tables.get(kind)
    const known = (first?.rows as Rows<Row> | undefined)?.get(id) // reading only
    if (known !== undefined) return known
    for (const { hidden, rows } of this.#tables.values()) {
      const row = hidden ? undefined : (rows as Rows<Row>).get(id) // reading only
      if (row !== undefined) return row
    }
    return undefined
  }
}
