import { expect, it, onTestFinished, vi } from 'vitest'
import { createFakeClock } from '../src/core/clock.ts'
import { startFakeStripe } from '../src/start-fake-stripe.ts'
import { sessionParams, startFake } from './fake-under-test.ts'

it('runs due tasks while it is advanced, in order, each at its own time', () => {
  const clock = createFakeClock(() => 1_000_000)
  onTestFinished(() => clock.close())
  const seen: [string, number][] = []
  clock.at(1_020_000, () => seen.push(['late', clock.now()]))
  clock.at(1_010_000, () => {
    seen.push(['early', clock.now()])
    clock.at(1_015_000, () => seen.push(['between', clock.now()]))
  })
  const cancel = clock.at(1_012_000, () => seen.push(['never', clock.now()]))
  cancel()
  clock.advance(30)
  expect(seen).toEqual([
    ['early', 1_010_000],
    ['between', 1_015_000],
    ['late', 1_020_000],
  ])
  expect(clock.now()).toBe(1_030_000)
  expect(clock.wallSeconds()).toBe(1_000)
  expect(() => clock.advance(-1)).toThrow(RangeError)
})

it('runs due tasks in real time', async () => {
  const clock = createFakeClock()
  onTestFinished(() => clock.close())
  const run = vi.fn<() => void>()
  clock.at(clock.now() + 20, run)
  await expect.poll(() => run.mock.calls).toHaveLength(1)
})

it('runs nothing after it is closed', () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const clock = createFakeClock()
  const run = vi.fn<() => void>()
  clock.at(clock.now() + 1, run)
  clock.close()
  vi.advanceTimersByTime(1_000)
  expect(run).not.toHaveBeenCalled()
})

it('dates objects with the clock of the options', async () => {
  let now = Date.UTC(2027, 0, 1)
  const { stripe, control } = await startFake({ clock: { now: () => now } })
  const first = await stripe.customers.create({})
  now += 60_000
  control.clock.advance(60)
  const second = await stripe.customers.create({})
  expect(first.created).toBe(Date.UTC(2027, 0, 1) / 1000)
  expect(second.created - first.created).toBe(120)
})

it('closes immediately although a request hangs, one is slow and a retry is scheduled', async () => {
  const fake = await startFakeStripe({ nodeEnv: 'test', webhooks: { retryBaseMs: 3_600_000 } })
  const { control, url } = fake
  const { id, secretKey } = control.createAccount()
  control.addWebhookEndpoint({ account: id, url: 'http://127.0.0.1:1/' })
  control.call(id, 'POST', '/v1/checkout/sessions', sessionParams())
  control.call(id, 'POST', '/v1/customers')
  await expect.poll(() => control.deliveries()[0]?.attempts).toHaveLength(1)
  const waiting = control.waitForDeliveries({ timeoutMs: 60_000 })
  control.injectFault({ path: '/v1/account', action: { kind: 'hang' } })
  control.injectFault({ path: '/v1/customers', action: { kind: 'slow', ms: 600_000 } })
  const headers = { authorization: `Bearer ${secretKey}` }
  const ends = Promise.allSettled([
    fetch(`${url}/v1/account`, { headers }),
    fetch(`${url}/v1/customers`, { headers }),
  ])
  await expect.poll(() => control.requests()).toHaveLength(2)
  await fake.close()
  await waiting
  // Closing cuts the hanging request and ends the slow one early.
  expect((await ends)[0]?.status).toBe('rejected')
})
