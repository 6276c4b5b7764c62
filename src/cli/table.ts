import Table from 'cli-table3'
import type { Page } from '../db/pages.ts'
import type { Problem } from './cli-errors.ts'
import { type Paint, plainText } from './terminal.ts'

// Columns separated by white space only: easy to read, and to split with awk.
const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}

export type Column<Row> = {
  head: string
  cell: (row: Row) => string | number | null
  align?: 'left' | 'right'
  paint?: (row: Row, paint: Paint) => (text: string) => string
}

/** A header and rows; null is shown as a dash. Ends with a line break. */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  paint: Paint,
): string {
  const table = new Table({
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    colAligns: columns.map(({ align }) => align ?? 'left'),
    head: columns.map(({ head }) => paint.dim(head)),
  })
  for (const row of rows) table.push(columns.map((column) => textOf(row, column, paint)))
  return withoutEdges(table.toString())
}

/** The last column of commands that continue after a failure. */
export const PROBLEM_COLUMN: Column<{ problem: Problem | null }> = {
  head: 'PROBLEM',
  cell: ({ problem }) => problem && `${problem.detail} (${problem.code})`,
  paint: ({ problem }, paint) => (problem === null ? paint.dim : paint.red),
}

/** `name  value` lines. Ends with a line break. */
export function renderFields(
  fields: readonly (readonly [name: string, value: string | number | null])[],
  paint: Paint,
): string {
  const width = Math.max(...fields.map(([name]) => name.length))
  return fields
    .map(([name, value]) => `${paint.dim(name.padEnd(width))}  ${shown(value)}\n`)
    .join('')
}

function textOf<Row>(row: Row, column: Column<Row>, paint: Paint): string {
  const text = shown(column.cell(row))
  return column.paint === undefined ? text : column.paint(row, paint)(text)
}

function shown(value: string | number | null): string {
  if (value === null || value === '') return '-'
  return plainText(String(value))
}

// The library pads the last column too, which makes lines wrap.
function withoutEdges(text: string): string {
  return text
    .split('\n')
    .map((line) => `${line.trimEnd()}\n`)
    .join('')
}

/** A page as a table, with the option for the next page. */
export function renderPage<Row>(
  page: Page<Row>,
  columns: readonly Column<Row>[],
  paint: Paint,
): string {
  if (page.data.length === 0) return `${paint.dim('None.')}\n`
  const more =
    page.next_cursor === null ? '' : paint.dim(`\nNext page: --cursor ${page.next_cursor}\n`)
  return renderTable(page.data, columns, paint) + more
}

/** An API timestamp as `2026-03-01 12:03:05`, in UTC. */
export function momentText(timestamp: string): string
export function momentText(timestamp: string | null): string | null
export function momentText(timestamp: string | null): string | null {
  return timestamp === null ? null : timestamp.slice(0, 19).replace('T', ' ')
}
