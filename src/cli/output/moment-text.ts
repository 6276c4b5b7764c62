/** `2026-03-01 12:03:05` UTC out of an API timestamp: as exact as people need, and sortable. */
export function momentText(timestamp: string): string
export function momentText(timestamp: string | null): string | null
export function momentText(timestamp: string | null): string | null {
  return timestamp === null ? null : timestamp.slice(0, 19).replace('T', ' ')
}
