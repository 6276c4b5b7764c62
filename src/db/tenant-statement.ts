import pg from 'pg'
import type { Db } from './connect.ts'

/** A value as a literal of SQL, escaped by pg itself. */
export function literal(value: string | number | boolean | null): string {
  if (value === null) return 'null'
  return typeof value === 'string' ? pg.escapeLiteral(value) : String(value)
}

/**
 * Runs one statement inside one conference, in one round trip: Postgres takes several statements of
 * one message as one transaction, so the tenant's name holds for ours and is gone after it. For what
 * is written page by page; everything else uses withTenant, where values are bound and not written
 * into the text.
 *
 * @param sql one statement without parameters; values are put into it by `literal`.
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
 */
export async function tenantStatement<Row extends object>(
  db: Db,
  tenant: { conferenceId: string },
  sql: string,
): Promise<Row[]> {
  // Not through knex, which takes every question mark in the text for a parameter.
  const connection = (await db.client.acquireConnection()) as pg.Client // what knex's pg pool holds
  try {
    const message = `select set_config('app.conference_id', ${literal(tenant.conferenceId)}, true);`
    // pg answers a message of two statements with two results, which its types do not say.
    const answer = (await connection.query(message + sql)) as unknown
    const [, result] = answer as [pg.QueryResult, pg.QueryResult<Row>]
    return result.rows
  } finally {
    await db.client.releaseConnection(connection)
  }
}
