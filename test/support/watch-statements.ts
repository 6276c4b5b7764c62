import knexFactory from 'knex'
import { loadModule } from 'libpg-query'
import pg from 'pg'
import { afterEach, expect } from 'vitest'
import { scopeOf } from '../scaling/conference-scope.ts'
import { isException } from '../scaling/cross-conference.ts'
import { placementOf } from '../scaling/placement.ts'

// Every statement that src sends in a test process is checked for what Citus would refuse or send to all nodes
// (docs/scaling.md). Each text is parsed once in a worker. Statements that tests make themselves do not count.

await loadModule()

const FOLDER = /\/(src|test|migrations|bench)\/(?!.*node_modules)/
const ORIGIN = Symbol('where a statement was made')

type Made = { [ORIGIN]?: { stack?: unknown } }
type Sql = { sql: string } & Made
type ClientParts = {
  queryBuilder: (this: ClientParts) => Made
  raw: (this: ClientParts, ...args: unknown[]) => Made
  _query: (this: ClientParts, connection: unknown, sql: Sql) => unknown
}

const checked = new Set<string>()
const faults: string[] = []

/** The folder of the repository whose code made a statement. Null: knex itself, or the kit in src/db. */
function folderOf(made: { stack?: unknown } | undefined): string | null {
  if (made === undefined) return null
  const before: unknown = Reflect.get(Error, 'prepareStackTrace')
  // Without source maps, which would cost more than all the rest.
  Error.prepareStackTrace = (_error, sites) => sites.map((site) => site.getFileName() ?? '')
  const files = made.stack as string[]
  Reflect.set(Error, 'prepareStackTrace', before)
  for (const file of files) {
    const folder = file.includes('node_modules') ? undefined : FOLDER.exec(file)?.[1]
    if (folder !== undefined) return folder
  }
  return null
}

function check(text: string, made: { stack?: unknown } | undefined): void {
  if (checked.has(text)) return
  const folder = folderOf(made)
  if (folder !== null && folder !== 'src') return
  checked.add(text)
  const fault = faultOf(text)
  if (fault !== null) faults.push(fault)
}

/** What Citus would refuse or send to all nodes, unless it is a known exception. */
export function faultOf(text: string): string | null {
  if (!/^\s*(?:select|insert|update|delete|with)\b/i.test(text)) return null
  const { unbound, groups, local } = scopeOf(text, placementOf)
  if (unbound.length === 0 && local.length === 0) return null
  const line = text.replaceAll(/\s+/g, ' ')
  if (isException(line)) return null
  const what =
    unbound.length === 0
      ? `joins tables of the coordinator (${local.join(', ')}) with those of a conference`
      : `does not tie ${unbound.join(', ')} to a conference${groups > 1 ? ' and joins conferences' : ''}`
  return `A statement ${what}. Add its conference_id, or name it in test/scaling/cross-conference.ts.\n${line}`
}

/** The files of a frame are read only for a new text, so a builder only keeps its stack. */
function remember<T extends Made>(made: T, below: unknown): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 6
  const place = {}
  Error.captureStackTrace(place, below as () => void)
  Error.stackTraceLimit = stackTraceLimit
  made[ORIGIN] = place
  keepOrigin(made)
  return made
}

const kept = new WeakSet<object>()

/** Compiled SQL gets the origin of its builder. */
function keepOrigin(made: Made): void {
  const prototype = Object.getPrototypeOf(made) as {
    toSQL: (this: Made, ...args: unknown[]) => Sql | Sql[]
  }
  if (kept.has(prototype)) return
  kept.add(prototype)
  const { toSQL } = prototype
  prototype.toSQL = function toSqlWithOrigin(this: Made, ...args) {
    const sql = toSQL.apply(this, args)
    const origin = this[ORIGIN]
    if (origin !== undefined && typeof sql === 'object') Object.assign(sql, { [ORIGIN]: origin })
    return sql
  }
}

function watch(): void {
  // Parts that knex does not declare, of its client for Postgres.
  const client = Object.getPrototypeOf(knexFactory({ client: 'pg' }).client) as ClientParts
  const { queryBuilder, raw, _query: send } = client
  client.queryBuilder = function watchedBuilder() {
    return remember(queryBuilder.call(this), watchedBuilder)
  }
  client.raw = function watchedRaw(...args) {
    return remember(raw.apply(this, args), watchedRaw)
  }
  client._query = function watchedSend(connection, sql) {
    check(sql.sql, sql[ORIGIN])
    return send.call(this, connection, sql)
  }
  // Statements that do not go through knex come from src/db.
  const { prototype } = pg.Client as { prototype: { query: (...args: unknown[]) => unknown } }
  const { query } = prototype
  prototype.query = function watchedQuery(...args) {
    const [sent] = args as [{ prepare?: boolean; text: string } | undefined]
    if (typeof sent === 'object' && sent.prepare === true) check(sent.text, undefined)
    return query.apply(this, args)
  }
}

/** Fails a test in which the service sent a statement that is not for one conference. */
export function expectOneConference(): void {
  afterEach(() => expect(faults.splice(0)).toEqual([]))
}

watch()
