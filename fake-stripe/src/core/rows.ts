/** A row of a table. Rows without `created` are sorted by insertion. */
export type Row = { id: string; created?: number }

/** A page of a list, newest first, as Stripe's `limit` and cursors describe it. */
export type PageRequest<T> = {
  limit: number
  startingAfter?: string | undefined
  endingBefore?: string | undefined
  where?: ((row: T) => boolean) | undefined
}

export type Page<T> = { data: T[]; hasMore: boolean }

type Slot<T> = { row: T; created: number; sequence: number; removed: boolean }

/**
 * The rows of one kind in one account, ordered by `created`, then by insertion. A row is replaced,
 * never changed in place, so an event can keep the old one.
 */
export class Rows<T extends Row> {
  #slots = new Map<string, Slot<T>>()
  #order: Slot<T>[] = []
  #sequence = 0

  get size(): number {
    return this.#order.length
  }

  get(id: string): T | undefined {
    const slot = this.#slots.get(id)
    return slot?.removed === false ? slot.row : undefined
  }

  /**
   * The id of a removed row can be used again; a list cursor then refers to the new row.
   *
   * @throws Error when the id exists; callers that accept ids from clients check this first.
   */
  insert(row: T): T {
    const slot = this.#newSlot(row)
    this.#order.splice(this.#after(slot), 0, slot)
    return row
  }

  /**
   * Inserts many rows in any order: sorting them once is faster than inserting each at its place.
   */
  insertMany(rows: readonly T[]): void {
    for (const row of rows) this.#order.push(this.#newSlot(row))
    this.#order.sort((a, b) => (isNewer(a, b) ? 1 : -1))
  }

  /** @throws Error when there is no such row. */
  replace(row: T): T {
    const slot = this.#slots.get(row.id)
    if (slot?.removed !== false) throw new Error(`${row.id} does not exist`)
    slot.row = row
    return row
  }

  /** Removes the row; a list cursor that names it stays valid. */
  remove(id: string): void {
    const slot = this.#slots.get(id)
    if (slot?.removed !== false) return
    this.#order.splice(this.#after(slot) - 1, 1)
    slot.removed = true
  }

  /** Newest first. */
  all(where: (row: T) => boolean = () => true): T[] {
    return this.#order
      .map((slot) => slot.row)
      .filter(where)
      .reverse()
  }

  /** @returns undefined when a cursor names a row that never existed. */
  page(request: PageRequest<T>): Page<T> | undefined {
    const { startingAfter, endingBefore } = request
    if (endingBefore !== undefined) {
      const cursor = this.#slots.get(endingBefore)
      if (cursor === undefined) return undefined
      const page = this.#take(this.#after(cursor), 1, request)
      return { data: page.data.reverse(), hasMore: page.hasMore }
    }
    if (startingAfter === undefined) return this.#take(this.#order.length - 1, -1, request)
    const cursor = this.#slots.get(startingAfter)
    return cursor && this.#take(this.#before(cursor), -1, request)
  }

  #newSlot(row: T): Slot<T> {
    if (this.get(row.id) !== undefined) throw new Error(`${row.id} already exists`)
    this.#sequence += 1
    const created = row.created ?? 0
    const slot = { row, created, sequence: this.#sequence, removed: false }
    this.#slots.set(row.id, slot)
    return slot
  }

  #take(from: number, step: 1 | -1, { limit, where }: PageRequest<T>): Page<T> {
    const data: T[] = []
    for (let index = from; ; index += step) {
      const slot = this.#order[index]
      if (slot === undefined) return { data, hasMore: false }
      if (where !== undefined && !where(slot.row)) continue
      if (data.length === limit) return { data, hasMore: true }
      data.push(slot.row)
    }
  }

  /**
   * Index of the first slot that is newer. Binary search, because a list can have a million rows.
   */
  #after(slot: Slot<T>): number {
    let low = 0
    let high = this.#order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#order[middle]
      if (other !== undefined && !isNewer(other, slot)) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Index of the last slot that is older; the slot itself can have been removed. */
  #before(slot: Slot<T>): number {
    const index = this.#after(slot) - 1
    return this.#order[index] === slot ? index - 1 : index
  }
}

function isNewer(a: Slot<unknown>, b: Slot<unknown>): boolean {
  return a.created === b.created ? a.sequence > b.sequence : a.created > b.created
}

/**
 * Names a kind of object and has its row type, so `account.rows(charges)` is typed without a
 * central list of kinds.
 */
export type Table<T extends Row> = {
  /** Stripe's `object` value, such as `charge`. */
  readonly name: string
  /** The name in Stripe's messages: `No such promotion code`. */
  readonly label: string
  /** The fake's own data about an object, under the same id; not found by id and never shown. */
  readonly hidden: boolean
  /** Never set; it connects the row type to the table. */
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
