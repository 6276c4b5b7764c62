import type { Writable } from 'node:stream'
import type { Knex } from 'knex'
import pg from 'pg'
import type { StatementWatch } from './statement-watch.ts'

// pgjdbc's defaults are 5 and 256. A plan takes up to 200 kB of the server's memory.
const PREPARE_FROM = 5
const MAX_PREPARED = 100
const MAX_COUNTED = 1_000

/** A statement has the same name on all connections. */
const names = new Map<string, string>()

/**
 * Marks a statement that is worth preparing: `trx.raw(sql, bindings).options(PREPARED)`. Postgres then parses
 * and plans it once for each connection. A prepared plan must fit all values, so this is for hot statements that
 * find their rows by key; a list needs a plan for its values.
 *
 * @see https://www.postgresql.org/docs/current/sql-prepare.html
 */
export const PREPARED = { prepare: true } as const

/**
 * Makes statements cheaper. Those of one turn of the event loop, such as the beginning of a transaction
 * and its first statement, are written to the socket at once and share a round trip. Marked statements are
 * prepared if the connection repeats them. Without `prepare`, no statement is.
 *
 * @param connection a new connection with `pipeline: true`.
 * @see https://node-postgres.com/features/pipelining
 */
export function pipelineStatements(
  connection: pg.Client,
  { prepare, watch }: { prepare: boolean; watch?: StatementWatch },
): void {
  const writeTogether = corkOf(connection)
  const isPrepared = prepare ? repeatedStatements() : () => false
  const { prototype } = pg.Client as { prototype: { query: (...args: unknown[]) => unknown } }
  const query = (config: unknown, ...more: unknown[]): unknown => {
    writeTogether()
    const isOurs = isMarked(config) && isPrepared(config.text)
    const sent = isOurs ? named(config) : prepare ? config : unnamed(config)
    const text = watch === undefined ? undefined : textOf(config)
    const ended = text === undefined ? null : (watch?.(text) ?? null)
    if (ended === null) return prototype.query.call(connection, sent, ...more)
    const callback = more.at(-1)
    if (isCallback(callback)) {
      return prototype.query.call(
        connection,
        sent,
        ...more.slice(0, -1),
        (...answer: unknown[]) => {
          ended(answer[0])
          callback(...answer)
        },
      )
    }
    const answer = prototype.query.call(connection, sent, ...more)
    if (answer instanceof Promise) answer.then(() => ended(null), ended)
    return answer
  }
  Object.assign(connection, { query })
}

/** The SQL of a query. Undefined for a stream. */
function textOf(config: unknown): string | undefined {
  if (typeof config === 'string') return config
  if (typeof config !== 'object' || config === null || !('text' in config)) return undefined
  return typeof config.text === 'string' && !('submit' in config) ? config.text : undefined
}

const isCallback = (value: unknown): value is (...answer: unknown[]) => void =>
  typeof value === 'function'

/** A function that holds back what is written to the socket until this turn of the event loop ends. */
function corkOf(connection: pg.Client): () => void {
  // Not in pg's types.
  const { stream } = (connection as unknown as { connection: { stream: Writable } }).connection
  let corked = false
  return () => {
    if (corked) return
    corked = true
    stream.cork()
    // Runs after the promises of this turn.
    process.nextTick(() => {
      corked = false
      stream.uncork()
    })
  }
}

/** A function that counts the statements of one connection and says which are prepared. */
function repeatedStatements(): (text: string) => boolean {
  const counts = new Map<string, number>()
  const prepared = new Set<string>()
  return (text) => {
    if (prepared.has(text)) return true
    const count = (counts.get(text) ?? 0) + 1
    if (count >= PREPARE_FROM && prepared.size < MAX_PREPARED) {
      counts.delete(text)
      prepared.add(text)
      return true
    }
    if (counts.has(text) || counts.size < MAX_COUNTED) counts.set(text, count)
    return false
  }
}

type Marked = { text: string; prepare: true }

function isMarked(config: unknown): config is Marked {
  return typeof config === 'object' && config !== null && 'prepare' in config
}

function named(config: Marked): Marked & { name: string } {
  const name = names.get(config.text) ?? `s${names.size + 1}`
  names.set(config.text, name)
  return { ...config, name }
}

/** Libraries name statements too (rate-limiter-flexible). Without a name, nothing is prepared. */
function unnamed(config: unknown): unknown {
  if (typeof config !== 'object' || config === null || !('name' in config)) return config
  const { name: _, ...statement } = config
  return statement
}

// knex types a transaction's client as any. It is the pg connection of the transaction.
const connectionOf = async (trx: Knex.Transaction) =>
  (await trx.client.acquireConnection()) as pg.Client

/** A statement that is not sent yet. */
export type Statement = Pick<Knex.Raw, 'toSQL'> | Pick<Knex.QueryBuilder, 'toSQL'>

/**
 * Runs statements one after the other in one round trip: a lock, and a read that must not see rows from
 * before it. With `Promise.all`, knex promises no order.
 *
 * @returns the rows of each.
 */
export async function runInOrder<Rows extends unknown[][]>(
  trx: Knex.Transaction,
  statements: { [K in keyof Rows]: Statement },
): Promise<Rows> {
  const connection = await connectionOf(trx)
  const answers = statements.map((statement) => {
    const { sql, bindings } = statement.toSQL().toNative()
    // All of them find rows by key or insert rows.
    return connection.query({ text: sql, values: [...bindings], ...PREPARED })
  })
  // The caller says what its statements return, as with knex.
  return (await untilAllEnd(answers)).map(({ rows }) => rows as unknown[]) as Rows
}

/**
 * The answers to statements that were sent together. It waits for all of them, so that none is under way
 * when the connection goes back to its pool.
 *
 * @throws the first failure; those after it are its consequences.
 */
export async function untilAllEnd<T>(answers: readonly Promise<T>[]): Promise<T[]> {
  const all = await Promise.allSettled(answers)
  const failure = all.find(({ status }) => status === 'rejected')
  if (failure?.status === 'rejected') throw failure.reason
  return Promise.all(answers)
}
