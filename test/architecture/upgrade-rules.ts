/** What an upgrade of a running service does not survive, or not without a wait. */
export type Risk = { rule: string; statement: string }

type Rule = {
  name: string
  /** The table is the first group. */
  pattern: RegExp
  /** Whether it also needs another statement about the same table. */
  besides?: (sql: string, table: string) => boolean
}

const TABLE = String.raw`(?:if exists )?(?:only )?([\w."]+)`
const ADDED = String.raw`add (?:column )?(?:if not exists )?(?!constraint|primary|foreign|unique|check|exclude)`

const RULES: readonly Rule[] = [
  {
    name: 'processes of the last release still use it: drop it in the next release',
    pattern: new RegExp(
      String.raw`(?:drop table ${TABLE}|alter table ${TABLE} [^;]*\b(?:drop column|rename)\b)`,
      'g',
    ),
  },
  {
    name: 'processes of the last release insert without it: give it a default, or allow null',
    pattern: new RegExp(
      String.raw`alter table ${TABLE} [^;]*?(?:${ADDED}(?:(?!default|generated|,)[^;])*not null(?![^,;]*\b(?:default|generated)\b)|set not null)`,
      'g',
    ),
  },
  {
    name: 'it rewrites the table under a lock: add a column, fill it, and use it in the next release',
    pattern: new RegExp(
      String.raw`alter table ${TABLE} [^;]*\balter (?:column )?\w+ (?:set data )?type\b`,
      'g',
    ),
  },
  {
    name: 'it reads the table under a lock: add it as "not valid", and validate it in another migration',
    pattern: new RegExp(
      String.raw`alter table ${TABLE} [^;]*\badd (?:constraint \w+ )?(?:check|foreign key)\b(?![^;]*not valid)`,
      'g',
    ),
  },
  {
    name: 'writes wait until it is built: create it concurrently, in a migration without a transaction',
    pattern: new RegExp(
      String.raw`create (?:unique )?index (?!concurrently)(?:if not exists )?\w+ on ${TABLE}`,
      'g',
    ),
  },
  {
    name: 'all requests for the table wait for the update: fill it in another migration',
    pattern: new RegExp(String.raw`(?:^|[;(\s])(?:update|delete from) ${TABLE}`, 'g'),
    besides: (sql, table) => new RegExp(String.raw`alter table ${TABLE_OF(table)}[\s;]`).test(sql),
  },
]

const TABLE_OF = (table: string) => `(?:if exists )?(?:only )?${table.replaceAll('.', '\\.')}`

/** A comment that begins so says why the migration may do it. */
const ACCEPTED = /(?:\*|\/\/|--)\s*Upgrade: \S/

/**
 * The statements of a migration's `up` that hurt processes of the last release, which run meanwhile and
 * afterwards. Tables that the migration makes are nobody's yet.
 */
export function upgradeRisks(migration: string): Risk[] {
  if (ACCEPTED.test(migration)) return []
  const [, up = ''] = migration.split(/export async function up\b/)
  const body = up.split(/export async function down\b/)[0] ?? ''
  const sql = body
    .replaceAll(/\/\*.*?\*\/|--[^\n]*|\/\/[^\n]*/gs, ' ')
    .replaceAll(/\s+/g, ' ')
    .toLowerCase()
  const made = new Set(
    Array.from(sql.matchAll(/create table (?:if not exists )?([\w.]+)/g), ([, table]) => table),
  )
  return RULES.flatMap(({ name, pattern, besides }) =>
    Array.from(sql.matchAll(pattern)).flatMap(([statement, ...groups]) => {
      const table = groups.find((group) => group !== undefined) ?? ''
      if (made.has(table) || (besides !== undefined && !besides(sql, table))) return []
      return [{ rule: name, statement: statement.trim() }]
    }),
  )
}
