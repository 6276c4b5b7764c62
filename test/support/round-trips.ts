import pg from 'pg'
import { vi } from 'vitest'

/**
 * The SQL of each round trip of `work` to the database, in order. Statements that are sent while their
 * connection still waits for an answer share its round trip. No other work may run meanwhile.
 */
export async function roundTripsOf(work: () => Promise<unknown>): Promise<string[]> {
  const trips: { connection: pg.Client; statements: string[] }[] = []
  const real: unknown = Reflect.get(pg.Client.prototype, 'query')
  if (typeof real !== 'function') throw new TypeError('pg.Client has no method query')
  const query = vi.spyOn(pg.Client.prototype, 'query')
  query.mockImplementation(function (this: pg.Client & { readyForQuery?: boolean }, ...sent) {
    const waiting = trips.findLast(({ connection }) => connection === this)
    if (this.readyForQuery === true || waiting === undefined) {
      trips.push({ connection: this, statements: [textOf(sent[0])] })
    } else waiting.statements.push(textOf(sent[0]))
    return Reflect.apply(real, this, sent) as never
  })
  try {
    await work()
    return trips.map(({ statements }) => statements.join('; '))
  } finally {
    query.mockRestore()
  }
}

function textOf(sent: unknown): string {
  if (typeof sent === 'string') return sent
  return typeof sent === 'object' && sent !== null && 'text' in sent ? String(sent.text) : ''
}
