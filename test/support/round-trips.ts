import pg from 'pg'
import { vi } from 'vitest'

/** The SQL of each message that `work` sends to the database, in order. No other work may run meanwhile. */
export async function roundTripsOf(work: () => Promise<unknown>): Promise<string[]> {
  const query = vi.spyOn(pg.Client.prototype, 'query')
  try {
    await work()
    return query.mock.calls.map(([sent]: unknown[]) => textOf(sent))
  } finally {
    query.mockRestore()
  }
}

function textOf(sent: unknown): string {
  if (typeof sent === 'string') return sent
  return typeof sent === 'object' && sent !== null && 'text' in sent ? String(sent.text) : ''
}
