import { adminQuery } from '../support/test-connections.ts'
import type { TestDatabase } from '../support/test-database.ts'

/** What tests ask a database about its partitions, behind row security. */
export function partitionQueries(database: Pick<TestDatabase, 'adminConnectionString'>) {
  const rows = <Row extends Record<string, unknown>>(sql: string, values: unknown[] = []) =>
    adminQuery<Row>(database.adminConnectionString, sql, values)

  /** The first day of a month, counted from this one. */
  async function month(offset: number): Promise<{ name: string; at: Date }> {
    const [found] = await rows<{ name: string; at: Date }>(
      `select to_char(m, 'YYYY_MM') as name, m at time zone 'UTC' as at
     from (select date_trunc('month', now() at time zone 'UTC') + make_interval(months => $1) as m) as given`,
      [offset],
    )
    if (found === undefined) throw new Error('no month')
    return found
  }

  const partitionsOf = async (table: string) =>
    (
      await rows<{ name: string }>(
        `select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass order by 1`,
        [table],
      )
    ).map(({ name }) => name)

  async function exists(table: string): Promise<boolean> {
    const [found] = await rows<{ exists: boolean }>(
      'select to_regclass($1) is not null as exists',
      [table],
    )
    return found?.exists === true
  }

  return { rows, month, partitionsOf, exists }
}
