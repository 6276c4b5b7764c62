import type { Page } from '../../http/pages.ts'
import type { Paint } from './paint.ts'
import { type Column, renderTable } from './table.ts'

/** A page as a table, with the way to the next one. */
export function renderPage<Row>(
  page: Page<Row>,
  columns: readonly Column<Row>[],
  paint: Paint,
): string {
  if (page.data.length === 0) return `${paint.dim('None.')}\n`
  const more = page.next_cursor === null ? '' : paint.dim(`\nMore: --cursor ${page.next_cursor}\n`)
  return renderTable(page.data, columns, paint) + more
}
