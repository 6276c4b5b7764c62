import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe } from 'node:diagnostics_channel'
import type { ClientRequest } from 'node:http'
import { afterEach, beforeAll, expect } from 'vitest'
import type { Db } from '../../src/db/connect.ts'

// The rule of docs/architecture.md: no transaction contains a network call, and nothing takes a second
// connection of a pool while it holds one. Every test app is watched, so each test holds the rule.

/** The transaction in which code runs. Code that it started may run on after its end. */
type Scope = { isOpen: boolean }

const scopes = new AsyncLocalStorage<Scope>()
const violations: string[] = []

function report(what: string): void {
  if (scopes.getStore()?.isOpen !== true) return
  violations.push(`${what} inside a transaction\n${new Error('Seen').stack ?? ''}`)
}

subscribe('http.client.request.start', (message) => {
  // The documented message of this channel.
  const { request } = message as { request: ClientRequest }
  report(`${request.method} ${request.path}`)
})
subscribe('undici:request:create', (message) => {
  const { request } = message as { request: { method: string; path: string } }
  report(`${request.method} ${request.path}`)
})

type Work = ((trx: unknown) => Promise<unknown>) | undefined

/** Watches the transactions of one pool from now on. */
export function watchTransactions(db: Db): void {
  const { client } = db
  const begin = client.transaction
  client.transaction = function transaction(work: Work, ...more: unknown[]) {
    report('A second connection was taken')
    // Reported here, where the stack still names the caller: knex takes the connection later.
    const withoutReport = { isOpen: false }
    const container = work === undefined ? work : watched(work)
    return scopes.run(withoutReport, () => begin.call(this, container, ...more))
  }
  const acquire = client.acquireConnection
  client.acquireConnection = function acquireConnection() {
    report('A second connection was taken')
    return acquire.call(this)
  }
}

function watched(work: NonNullable<Work>): NonNullable<Work> {
  return (trx) => {
    const scope = { isOpen: true }
    return scopes.run(scope, async () => {
      try {
        return await work(trx)
      } finally {
        scope.isOpen = false
      }
    })
  }
}

/** Work that a test starts inside a transaction of its own, as if another request had started it. */
export function asAnotherRequest<T>(work: () => Promise<T>): Promise<T> {
  return scopes.run({ isOpen: false }, work)
}

/** The violations since the last call. */
export function takeViolations(): string[] {
  return violations.splice(0)
}

/** Fails each test in which a watched pool broke the rule. */
export function expectNoViolations(): void {
  // Files share this module, and the end of another file may have left one.
  beforeAll(() => void takeViolations())
  afterEach(() => expect(takeViolations()).toEqual([]))
}
