import pg from 'pg'
import { vi } from 'vitest'

/**
 * Counts the messages that the connections of this process send to Postgres while `work` runs: each is
 * one round trip, also when it holds several statements.
 *
 * @returns the text of each message, in order.
 */
export async function roundTripsOf(work: () => Promise<unknown>): Promise<string[]> {
  const messages: string[] = []
  const query = vi.spyOn(pg.Client.prototype, 'query')
  try {
    await work()
    for (const [message] of query.mock.calls) messages.push(textOf(message))
  } finally {
    query.mockRestore()
  }
  return messages
}

function textOf(message: unknown): string {
  const text =
    typeof message === 'object' && message !== null && 'text' in message ? message.text : message
  return String(text).replaceAll(/\s+/g, ' ').trim()
}
