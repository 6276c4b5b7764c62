import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll } from 'vitest'
import { OPERATOR_KEY } from '../../support/test-app.ts'
import type { Buyers } from './buyers.ts'

export type Staff = {
  failures(): string[]
  done(): { redeemed: number; refunded: number }
  /** Resolves when it has worked on every purchase. */
  stop(): Promise<void>
}

/** Redeems a code of each purchase that sponsors bought, refunds a code of every third, and looks at lists and reports. */
export function startStaff(url: string, buyers: Buyers): Staff {
  const failures: string[] = []
  const done = { redeemed: 0, refunded: 0 }
  const { shop } = buyers
  let stopped = false

  async function request(method: 'GET' | 'POST', path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${url}${shop.path}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${OPERATOR_KEY}`,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'idempotency-key': randomUUID() }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: unknown) => new Response(String(error), { status: 599 }))
    const text = await response.text()
    if (response.ok) return JSON.parse(text)
    failures.push(`${method} ${path}: ${response.status} ${text}`)
    return null
  }

  async function workOn(purchase: string, index: number): Promise<void> {
    const answer = await request('GET', `/purchases/${purchase}/vouchers`)
    const [first] = (answer as { data: { code: string }[] } | null)?.data ?? []
    if (first === undefined) return
    const order = { reference: `order-${index}` }
    if (await request('POST', `/vouchers/${first.code}/redemptions`, order)) done.redeemed += 1
    if (index % 3 === 0) {
      const isRefunded = await request('POST', `/purchases/${purchase}/refund`, { quantity: 1 })
      if (isRefunded) done.refunded += 1
    }
    await request('GET', `/purchases?status=PAID&limit=20`)
    await request('GET', `/reports/purchases`)
  }

  async function work(): Promise<void> {
    for (let index = 0; !stopped || index < buyers.bought().length; ) {
      const purchase = buyers.bought()[index]
      if (purchase === undefined) await sleep(10)
      else await workOn(purchase.id, index++)
    }
  }

  const running = work()
  running.catch(() => {})
  afterAll(() => {
    stopped = true
    return running.catch(() => {})
  })
  return {
    failures: () => failures,
    done: () => done,
    async stop() {
      stopped = true
      await running
    },
  }
}
