import { parseSync } from 'libpg-query'

/** A node of the parser's tree: one member named by its kind, or a struct. */
type Node = { readonly [member: string]: unknown }

/** Tables that a statement reads or writes, by how they depend on a conference. */
export type Scope = {
  /** Distributed tables that no condition ties to one given conference. */
  unbound: string[]
  /** Sets of unbound tables that share no conference: more than one is a join across conferences. */
  groups: number
  /** Tables of the coordinator in the same statement as a distributed table. */
  local: string[]
}

export type Placement = 'distributed' | 'reference' | 'local'

/** The value of a `conference_id`. Those of one set are equal. */
type Conference = { parent: Conference | null }

const newConference = (): Conference => ({ parent: null })

function rootOf(conference: Conference): Conference {
  let root = conference
  while (root.parent !== null) root = root.parent
  return root
}

/** What a FROM item offers: the conferences of its columns by name. */
type Source = { alias: string; columns: ReadonlyMap<string, Conference> }

type Env = {
  sources: Source[]
  ctes: Map<string, ReadonlyMap<string, Conference>>
  outer: Env | null
}

const COLUMN = 'conference_id'

/**
 * Which tables of a statement are not tied to the conference that its caller gave. `conference_id = $1`,
 * `= any($1)`, a list of rows, and a value that is inserted tie a table; so does equality with the
 * `conference_id` of a table that is tied. Row security does not count: Citus chooses the node before it applies.
 *
 * @throws Error when Postgres could not parse the statement.
 */
export function scopeOf(sql: string, placementOf: (table: string) => Placement | null): Scope {
  const given = newConference()
  const tables: { name: string; conference: Conference }[] = []
  const local = new Set<string>()

  const unite = (a: Conference | null, b: Conference | null): void => {
    if (a === null || b === null) return
    const [first, second] = [rootOf(a), rootOf(b)]
    if (first === second) return
    // The given one stays a root.
    if (first === rootOf(given)) second.parent = first
    else first.parent = second
  }

  /** The columns of a relation that may be a CTE or a table. */
  function relation(range: Node, env: Env): Source {
    const name = range['relname'] as string
    const schema = range['schemaname'] as string | undefined
    const alias = ((range['alias'] as Node | undefined)?.['aliasname'] as string) ?? name
    for (let at: Env | null = env; at !== null && schema === undefined; at = at.outer) {
      const columns = at.ctes.get(name)
      if (columns !== undefined) return { alias, columns }
    }
    const table = schema === undefined || schema === 'public' ? name : `${schema}.${name}`
    const conference = newConference()
    const placement = placementOf(table)
    if (placement === 'distributed') tables.push({ name: table, conference })
    if (placement === 'local') local.add(table)
    return { alias, columns: new Map([[table === 'conferences' ? 'id' : COLUMN, conference]]) }
  }

  function addSource(item: Node, env: Env): void {
    if (item['RangeVar'] !== undefined) env.sources.push(relation(item['RangeVar'] as Node, env))
    else if (item['JoinExpr'] !== undefined) {
      const join = item['JoinExpr'] as Node
      addSource(join['larg'] as Node, env)
      const before = env.sources.length
      addSource(join['rarg'] as Node, env)
      const uses = listOf(join['usingClause']).map(stringOf)
      if (uses.includes(COLUMN)) {
        const left = env.sources.slice(0, before).map(({ columns }) => columns.get(COLUMN))
        const right = env.sources.slice(before).map(({ columns }) => columns.get(COLUMN))
        const [a, b] = [left, right].map((all) => all.find((each) => each !== undefined) ?? null)
        unite(a ?? null, b ?? null)
      }
      condition(join['quals'] as Node | undefined, env)
    } else if (item['RangeSubselect'] !== undefined) {
      const sub = item['RangeSubselect'] as Node
      const alias = sub['alias'] as Node | undefined
      const columns = query(sub['subquery'] as Node, env, listOf(alias?.['colnames']).map(stringOf))
      env.sources.push({ alias: (alias?.['aliasname'] as string) ?? '', columns })
    } else if (item['RangeFunction'] !== undefined) {
      const call = item['RangeFunction'] as Node
      const alias = call['alias'] as Node | undefined
      const names = [
        ...listOf(alias?.['colnames']).map(stringOf),
        ...listOf(call['coldeflist']).map((def) => (def['ColumnDef'] as Node)['colname'] as string),
      ]
      expression(call['functions'], env)
      // Rows that the caller gave.
      const columns = new Map(names.map((name) => [name, given]))
      env.sources.push({ alias: (alias?.['aliasname'] as string) ?? '', columns })
    }
  }

  /** The conference that an expression stands for, or null. */
  function conferenceOf(node: Node | undefined, env: Env): Conference | null {
    if (node === undefined) return null
    if (node['ParamRef'] !== undefined || node['A_Const'] !== undefined) return given
    if (node['TypeCast'] !== undefined) {
      return conferenceOf((node['TypeCast'] as Node)['arg'] as Node, env)
    }
    if (node['FuncCall'] !== undefined) {
      // current_setting('app.conference_id') and the like.
      const args = listOf((node['FuncCall'] as Node)['args'])
      return args.every((arg) => conferenceOf(arg, env) === given) ? given : null
    }
    if (node['SubLink'] !== undefined) {
      const link = node['SubLink'] as Node
      if (link['subLinkType'] !== 'EXPR_SUBLINK') return null
      const [first] = query(link['subselect'] as Node, env).values()
      return first ?? null
    }
    if (node['ColumnRef'] === undefined) return null
    const names = listOf((node['ColumnRef'] as Node)['fields']).map(stringOf)
    const name = names.at(-1) ?? ''
    const alias = names.length > 1 ? names.at(-2) : undefined
    for (let at: Env | null = env; at !== null; at = at.outer) {
      for (const source of at.sources) {
        if (alias !== undefined && source.alias !== alias) continue
        const found = source.columns.get(name)
        if (found !== undefined) return found
      }
    }
    return null
  }

  /** A condition that must hold for each row. */
  function condition(node: Node | undefined, env: Env): void {
    if (node === undefined) return
    const both = node['BoolExpr'] as Node | undefined
    if (both?.['boolop'] === 'AND_EXPR') {
      for (const each of listOf(both['args'])) condition(each, env)
      return
    }
    const compared = node['A_Expr'] as Node | undefined
    if (compared !== undefined && listOf(compared['name']).map(stringOf).join() === '=') {
      const kind = compared['kind']
      const [left, right] = [compared['lexpr'] as Node, compared['rexpr'] as Node]
      if (kind === 'AEXPR_OP') uniteAll(partsOf(left), partsOf(right), env)
      if (kind === 'AEXPR_OP_ANY' && conferenceOf(right, env) === given) {
        uniteAll(partsOf(left), [right], env)
      }
      if (kind === 'AEXPR_IN') {
        for (const item of listOf((right['List'] as Node)['items'])) {
          uniteAll(partsOf(left), partsOf(item), env)
        }
        return expression([left, right], env)
      }
    }
    const link = node['SubLink'] as Node | undefined
    if (link?.['subLinkType'] === 'ANY_SUBLINK') {
      const columns = [...query(link['subselect'] as Node, env).values()]
      const parts = partsOf(link['testexpr'] as Node)
      for (const [index, part] of parts.entries()) {
        const name = (part['ColumnRef'] as Node | undefined) && conferenceOf(part, env)
        if (name) unite(name, columns[index] ?? null)
      }
      return
    }
    expression(node, env)
  }

  function uniteAll(left: Node[], right: Node[], env: Env): void {
    for (const [index, part] of left.entries()) {
      const other = right[index]
      if (other === undefined) continue
      if (!isConference(part) && !isConference(other)) continue
      unite(conferenceOf(part, env), conferenceOf(other, env))
    }
  }

  /** Finds subqueries anywhere below. */
  function expression(node: unknown, env: Env): void {
    if (Array.isArray(node)) {
      for (const each of node) expression(each, env)
      return
    }
    if (typeof node !== 'object' || node === null) return
    const tree = node as Node
    if (tree['SubLink'] !== undefined) {
      const link = tree['SubLink'] as Node
      expression(link['testexpr'], env)
      query(link['subselect'] as Node, env)
      return
    }
    for (const each of Object.values(tree)) expression(each, env)
  }

  /** @returns the conferences of the columns that the query offers, in their order. */
  function query(
    node: Node,
    outer: Env | null,
    renamed: readonly string[] = [],
  ): Map<string, Conference> {
    const columns = statement(node, outer)
    if (renamed.length === 0) return columns
    return new Map([...columns].map(([name, value], index) => [renamed[index] ?? name, value]))
  }

  function statement(node: Node, outer: Env | null): Map<string, Conference> {
    if (node['SelectStmt'] !== undefined) return select(node['SelectStmt'] as Node, outer)
    if (node['InsertStmt'] !== undefined) return insert(node['InsertStmt'] as Node, outer)
    const change = (node['UpdateStmt'] ?? node['DeleteStmt']) as Node | undefined
    if (change === undefined) return new Map()
    const env = openEnv(change, outer)
    env.sources.push(relation(change['relation'] as Node, env))
    for (const item of listOf(change['fromClause'] ?? change['usingClause'])) addSource(item, env)
    condition(change['whereClause'] as Node | undefined, env)
    expression(change['targetList'], env)
    return output(listOf(change['returningList'] ?? returningOf(change)), env)
  }

  function openEnv(tree: Node, outer: Env | null): Env {
    const env: Env = { sources: [], ctes: new Map(), outer }
    const clause = tree['withClause'] as Node | undefined
    for (const item of listOf(clause?.['ctes'])) {
      const cte = item['CommonTableExpr'] as Node
      const name = cte['ctename'] as string
      const renamed = listOf(cte['aliascolnames']).map(stringOf)
      if (clause?.['recursive'] === true) env.ctes.set(name, new Map([[COLUMN, newConference()]]))
      env.ctes.set(name, query(cte['ctequery'] as Node, env, renamed))
    }
    return env
  }

  function select(tree: Node, outer: Env | null): Map<string, Conference> {
    const env = openEnv(tree, outer)
    if (tree['larg'] !== undefined) {
      const sides = [tree['larg'], tree['rarg']].map((side) => select(side as Node, env))
      return merged(sides[0] ?? new Map(), sides[1] ?? new Map())
    }
    const lists = listOf(tree['valuesLists'])
    if (lists.length > 0) {
      expression(lists, env)
      const first = listOf((lists[0]?.['List'] as Node | undefined)?.['items'])
      return new Map(
        first.map((item, index) => [
          `column${index + 1}`,
          conferenceOf(item, env) ?? newConference(),
        ]),
      )
    }
    for (const item of listOf(tree['fromClause'])) addSource(item, env)
    condition(tree['whereClause'] as Node | undefined, env)
    for (const part of ['targetList', 'groupClause', 'havingClause', 'sortClause', 'limitCount']) {
      expression(tree[part], env)
    }
    return output(listOf(tree['targetList']), env)
  }

  /** Both branches of a union must be tied for the rows of the union to be tied. */
  function merged(left: Map<string, Conference>, right: Map<string, Conference>) {
    const other = [...right.values()]
    return new Map(
      [...left].map(([name, conference], index) => {
        const second = other[index]
        const areTied = second !== undefined && rootOf(second) === rootOf(conference)
        return [name, areTied ? conference : newConference()]
      }),
    )
  }

  function insert(tree: Node, outer: Env | null): Map<string, Conference> {
    const env = openEnv(tree, outer)
    const target = relation(tree['relation'] as Node, env)
    const names = listOf(tree['cols']).map((item) => (item['ResTarget'] as Node)['name'] as string)
    // Each table of a tenant begins with it.
    const position = names.length === 0 ? 0 : names.indexOf(COLUMN)
    const rows = tree['selectStmt'] as Node | undefined
    if (rows !== undefined) {
      const values = [...query(rows, env).values()]
      unite(target.columns.get(COLUMN) ?? null, values[position] ?? null)
    }
    env.sources.push(target)
    const conflict = tree['onConflictClause'] as Node | undefined
    expression([conflict?.['targetList'], conflict?.['whereClause']], env)
    return output(listOf(tree['returningList'] ?? returningOf(tree)), env)
  }

  /** Every column gets an entry, so that positions can be compared. */
  function output(targets: Node[], env: Env): Map<string, Conference> {
    const columns = new Map<string, Conference>()
    for (const [index, item] of targets.entries()) {
      const target = item['ResTarget'] as Node | undefined
      const value = target?.['val'] as Node | undefined
      const fields = listOf((value?.['ColumnRef'] as Node | undefined)?.['fields'])
      const last = fields.at(-1)
      if (last?.['A_Star'] !== undefined) {
        const alias = fields.length > 1 ? stringOf(fields.at(-2) ?? {}) : null
        for (const source of env.sources) {
          if (alias !== null && source.alias !== alias) continue
          for (const [name, conference] of source.columns) columns.set(name, conference)
        }
        continue
      }
      const name = (target?.['name'] as string | undefined) ?? (last ? stringOf(last) : `#${index}`)
      columns.set(name, conferenceOf(value, env) ?? newConference())
    }
    return columns
  }

  for (const { stmt } of (parseSync(sql) as { stmts?: { stmt: Node }[] }).stmts ?? []) {
    statement(stmt, null)
  }
  const unbound = tables.filter(({ conference }) => rootOf(conference) !== rootOf(given))
  return {
    unbound: [...new Set(unbound.map(({ name }) => name))],
    groups: new Set(unbound.map(({ conference }) => rootOf(conference))).size,
    local: tables.length === 0 ? [] : [...local],
  }
}

/** PostgreSQL 18 has its own clause for it, with `old` and `new`. */
const returningOf = (tree: Node) => (tree['returningClause'] as Node | undefined)?.['exprs']

const listOf = (value: unknown): Node[] => (Array.isArray(value) ? (value as Node[]) : [])

const stringOf = (node: Node): string =>
  ((node['String'] as Node | undefined)?.['sval'] ?? '') as string

/** The members of a row, or the expression itself. */
function partsOf(node: Node): Node[] {
  const row = node['RowExpr'] as Node | undefined
  return row === undefined ? [node] : listOf(row['args'])
}

/** Whether an expression is a conference's id by its name. */
function isConference(node: Node): boolean {
  const reference = node['ColumnRef'] as Node | undefined
  if (reference === undefined) return false
  const names = listOf(reference['fields']).map(stringOf)
  return names.at(-1) === COLUMN || names.at(-1) === 'id'
}
