import { type SourceTree, withoutComments } from './source-tree.ts'

/** A statement in a file. */
export type Write = { file: string; text: string }

/**
 * The statements that change rows of a table: `update …` in an SQL text, and `.update(` on knex's query of
 * that table. A statement ends at an empty line or at the end of its function.
 */
export function updatesOf(tree: SourceTree, table: string): Write[] {
  const raw = new RegExp(String.raw`\bupdate\s+${table}\b[^\`]*`, 'g')
  const knex = new RegExp(String.raw`\(\s*'${table}(?: as \w+)?'[\s\S]*?(?=\n\s*\n|\n\}|$)`, 'g')
  return [...tree].flatMap(([file, source]) => {
    const text = withoutComments(source)
    const found = [
      ...[...text.matchAll(raw)].map(([match]) => match),
      ...[...text.matchAll(knex)].map(([match]) => match).filter(isUpdate),
    ]
    return found.map((statement) => ({ file, text: statement }))
  })
}

const isUpdate = (statement: string) => /\.(?:update|increment|decrement|merge)\(/.test(statement)

/** Whether a statement sets the column. A spread of other values counts: its type must exclude the column. */
export function setsColumn({ text }: Write, column: string): boolean {
  const values = /\bset\b([\s\S]*?)(?:\bwhere\b|\breturning\b|\bfrom json|$)/i.exec(text)?.[1]
  if (values !== undefined && !text.startsWith('(')) {
    return new RegExp(String.raw`(?:^|[\s,])${column}\s*=|\$\{`).test(values)
  }
  const written = /\.(?:update|merge)\(([\s\S]*)/.exec(text)?.[1] ?? ''
  return new RegExp(String.raw`\b${column}\b\s*[:,}]|'${column}'`).test(written)
}

/** Whether a statement names the states in which it finds its rows: a state has changed in between otherwise. */
export function namesState({ text }: Write): boolean {
  return text.startsWith('(')
    ? /\.where(?:In)?\([^)]*\bstate\b/.test(text)
    : /\bwhere\b[\s\S]*\bstate\s*(?:=|in\b)/.test(text)
}
