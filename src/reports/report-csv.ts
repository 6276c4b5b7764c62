import { stringify } from 'csv-stringify/sync'

/** A text that a spreadsheet would run as a formula gets a leading apostrophe. */
export function toCsv(rows: readonly object[], columns: readonly string[]): string {
  return stringify([...rows], { columns: [...columns], header: true, escape_formulas: true })
}
