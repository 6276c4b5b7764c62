import { expect, it } from 'vitest'
import { createShutdown } from '../../src/shutdown.ts'
import { silent } from '../jobs/job-kit.ts'

const never = () => new Promise<void>(() => {})

it('ends intake, then work, then connections, then the database', async () => {
  const shutdown = createShutdown(10_000, silent)
  const order: string[] = []
  const ending = (name: string) => async () => {
    await new Promise((resolve) => setImmediate(resolve))
    order.push(name)
  }
  // Added in the order of the start, which is the reverse.
  shutdown.add('database', 'database', ending('database'))
  shutdown.add('pools', 'pool', ending('pool'))
  shutdown.add('work', 'worker', ending('worker'))
  shutdown.add('intake', 'http', ending('http'))
  expect(await shutdown.run()).toBe(true)
  expect(order).toEqual(['http', 'worker', 'pool', 'database'])
})

it('continues with the next phase when one hangs or fails, and reports it', async () => {
  const shutdown = createShutdown(200, silent)
  const ended: string[] = []
  shutdown.add('intake', 'hangs', never)
  shutdown.add('work', 'fails', async () => {
    throw new Error('no')
  })
  shutdown.add('pools', 'ends', async () => ended.push('pool'))
  expect(await shutdown.run()).toBe(false)
  expect(ended).toEqual(['pool'])
})

it('reports interrupted work', async () => {
  const shutdown = createShutdown(10_000, silent)
  shutdown.add('work', 'worker', async () => false)
  expect(await shutdown.run()).toBe(false)
})

it('ends everything once, also when called twice', async () => {
  const shutdown = createShutdown(10_000, silent)
  let ends = 0
  shutdown.add('pools', 'pool', async () => (ends += 1))
  expect(await Promise.all([shutdown.run(), shutdown.run()])).toEqual([true, true])
  expect(ends).toBe(1)
})
