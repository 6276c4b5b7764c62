import { expect, it } from 'vitest'
import { createBestEffortQueue } from '../../src/mirror/best-effort-queue.ts'

function newSideline() {
  const told: object[] = []
  const sideline = createBestEffortQueue({ warn: (details: object) => void told.push(details) })
  return { sideline, told }
}

it('work on the side is done one by one, in order', async () => {
  const { sideline, told } = newSideline()
  const done: number[] = []
  const work = (n: number, ms: number) => async () => {
    await new Promise((resolve) => setTimeout(resolve, ms))
    done.push(n)
    return n
  }
  const results = [1, 2, 3].map((n) => sideline.run('work', work(n, 30 - n * 10)))
  expect(await Promise.all(results)).toEqual([1, 2, 3])
  expect(done).toEqual([1, 2, 3])
  expect(told).toEqual([])
})

it('work on the side that fails is told of and nobody else’s business', async () => {
  const { sideline, told } = newSideline()
  const failing = () => Promise.reject(new Error('the table is gone'))
  expect(await sideline.run('work', failing)).toBeUndefined()
  expect(await sideline.run('work', async () => 'done')).toBe('done')
  expect(told).toEqual([{ what: 'work', error: 'Error: the table is gone' }])
})

it('work on the side that hangs is left after a second, and others are left out at once', async () => {
  const { sideline, told } = newSideline()
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const stuck = sideline.run('stuck', () => held)
  const behind = sideline.run('behind', async () => 'never')
  expect(await Promise.all([stuck, behind])).toEqual([undefined, undefined])
  const began = performance.now()
  expect(await sideline.run('later', async () => 'never')).toBeUndefined()
  expect(performance.now() - began).toBeLessThan(500)
  expect(told).toHaveLength(3)
  release()
  await expect.poll(() => sideline.run('again', async () => 'done')).toBe('done')
})
