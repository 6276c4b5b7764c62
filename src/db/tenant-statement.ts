import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Db } from './connect.ts'

/** A value as a literal of SQL, escaped by pg itself. */
export function literal(value: string | number | boolean | null): string {
  if (value === null) return 'null'
  return typeof value === 'string' ? pg.escapeLiteral(value) : String(value)
}

/**
 * A long text, such as a page of objects, as a literal of SQL: between dollar quotes nothing needs
 * to be escaped, which otherwise takes longer than everything that Postgres does with the page.
 *
 * @see https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-DOLLAR-QUOTING
 */
export function longLiteral(text: string): string {
  const newQuote = () => `$p${randomBytes(8).toString('hex')}$`
  let quote = newQuote()
  while (`${text}$`.includes(quote)) quote = newQuote()
  return `${quote}${text}${quote}`
}

/**
 * Runs one statement inside one conference, in one round trip: Postgres takes several statements of
 * one message as one transaction, so the tenant's name holds for ours and is gone after it. For what
 * is written page by page; everything else uses withTenant, where values are bound and not written
 * into the text.
 *
 * @param sql one statement without parameters; values are put into it by `literal`.
 * @param options.lazily does not wait for the disk. For what a crash of the server may undo because
 * it will be done again from where that leaves it.
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
 */
export async function tenantStatement<Row extends object>(
  db: Db,
  tenant: { conferenceId: string },
  sql: string,
  options: { lazily?: boolean } = {},
): Promise<Row[]> {
  // Not through knex, which takes every question mark in the text for a parameter.
  const connection = (await db.client.acquireConnection()) as pg.Client // what knex's pg pool holds
  try {
    const lazily = options.lazily ? `, set_config('synchronous_commit', 'off', true)` : ''
    const message = `select set_config('app.conference_id', ${literal(tenant.conferenceId)}, true)${lazily};`
    // pg answers a message of two statements with two results, which its types do not say.
    const answer = (await connection.query(message + sql)) as unknown
    const [, result] = answer as [pg.QueryResult, pg.QueryResult<Row>]
    return result.rows
  } finally {
    await db.client.releaseConnection(connection)
  }
}
