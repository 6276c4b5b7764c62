import type { Encryption } from '../shared/cryptography.ts'
import type { Db, Tx } from './connect.ts'
import { withSystem } from './tenant-scope.ts'

type Key = Record<string, string>

/** A table with encrypted values. Its domain knows in which context each was encrypted. */
export type SealedTable = {
  table: string
  /** The columns of its primary key, all of them text. */
  keys: readonly [string, ...string[]]
  /** The context of each encrypted column, by the key of its row. */
  contexts: Readonly<Record<string, (key: Key) => string>>
}

/** The encrypted values of a table by what they can be read with. */
export type SealedCount = {
  table: string
  /** With the current key. */
  current: number
  /** With the second key only. */
  second: number
  /** With neither of them. */
  unreadable: number
  /** Encrypted again, in all passes. */
  rotated: number
}

/** Values of one transaction. It locks their rows. */
const BATCH = 200

/** A value that a process writes under the other key during a pass is found by the next one. */
const MAX_PASSES = 3

/** How many values are under which key. Writes nothing. */
export function countSealed(
  db: Db,
  encryption: Encryption,
  tables: readonly SealedTable[],
): Promise<SealedCount[]> {
  return eachTable(tables, (table) => pass(db, encryption, table, false))
}

/**
 * Encrypts every value again that the current key cannot read. Each batch is a transaction of its own and a
 * value that changes meanwhile is left alone, so it runs beside the service, and after a crash it just runs
 * again. The last table comes when all others are done.
 *
 * @returns the counts after it. Nothing is left under the second key unless a process still writes with it.
 */
export function rotateSealed(
  db: Db,
  encryption: Encryption,
  tables: readonly SealedTable[],
): Promise<SealedCount[]> {
  return eachTable(tables, async (table) => {
    let rotated = 0
    for (let count = 1; count <= MAX_PASSES; count += 1) {
      const done = await pass(db, encryption, table, true)
      rotated += done.rotated
      if (done.rotated === 0 && done.second === 0) break
    }
    return { ...(await pass(db, encryption, table, false)), rotated }
  })
}

async function eachTable(
  tables: readonly SealedTable[],
  work: (table: SealedTable) => Promise<SealedCount>,
): Promise<SealedCount[]> {
  const counts: SealedCount[] = []
  for (const table of tables) counts.push(await work(table))
  return counts
}

type Row = Record<string, string | null>

async function pass(
  db: Db,
  encryption: Encryption,
  sealed: SealedTable,
  rotates: boolean,
): Promise<SealedCount> {
  const counts = { table: sealed.table, current: 0, second: 0, unreadable: 0, rotated: 0 }
  let after: Key | null = null
  do {
    const from: Key | null = after
    after = await withSystem(db, 'rotate-encryption', async (trx) => {
      const rows = await readBatch(trx, sealed, from)
      for (const { key, column, value } of valuesOf(sealed, rows)) {
        const context = sealed.contexts[column]?.(key) ?? ''
        const under = encryption.keyOf(value, context)
        if (under === 'second' && rotates) {
          const fresh = encryption.encrypt(encryption.decrypt(value, context), context)
          const updated = await trx(sealed.table)
            .where({ ...key, [column]: value })
            .update({ [column]: fresh })
          counts[updated === 1 ? 'rotated' : 'second'] += 1
        } else counts[under ?? 'unreadable'] += 1
      }
      const last = rows.at(-1)
      return rows.length < BATCH || last === undefined ? null : keyOf(sealed, last)
    })
  } while (after !== null)
  return counts
}

/** Rows by primary key, from a position on. */
async function readBatch(
  trx: Tx,
  { table, keys, contexts }: SealedTable,
  from: Key | null,
): Promise<Row[]> {
  const columns = [...keys, ...Object.keys(contexts)].map((name) => `${name}::text as ${name}`)
  const { rows } = await trx.raw<{ rows: Row[] }>(
    `select ${columns.join(', ')} from ${table} as t
     ${from === null ? '' : `where (${keys.map((key) => `t.${key}`).join(', ')}) > (${keys.map(() => '?').join(', ')})`}
     order by ${keys.map((key) => `t.${key}`).join(', ')} limit ${BATCH}`,
    from === null ? [] : keys.map((key) => from[key] ?? ''),
  )
  return rows
}

const keyOf = ({ keys }: SealedTable, row: Row): Key =>
  Object.fromEntries(keys.map((name) => [name, row[name] ?? '']))

/** The encrypted values of the rows. Some columns are empty. */
function valuesOf(sealed: SealedTable, rows: readonly Row[]) {
  return rows.flatMap((row) =>
    Object.keys(sealed.contexts).flatMap((column) => {
      const value = row[column]
      return value ? [{ key: keyOf(sealed, row), column, value }] : []
    }),
  )
}
