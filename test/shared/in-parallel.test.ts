import { describe, expect, it } from 'vitest'
import { inParallel } from '../../src/shared/in-parallel.ts'

describe('inParallel', () => {
  it('keeps the order of the items and never more calls than the limit', async () => {
    let running = 0
    let most = 0
    const results = await inParallel([5, 1, 4, 2, 3], 2, async (item) => {
      running += 1
      most = Math.max(most, running)
      for (let turns = 0; turns < item; turns += 1) await Promise.resolve()
      running -= 1
      return item * 10
    })
    expect(results).toEqual([50, 10, 40, 20, 30])
    expect(most).toBe(2)
  })

  it('fails with the first failure', async () => {
    const work = async (item: number) => {
      if (item === 2) throw new Error('second')
      return item
    }
    await expect(inParallel([1, 2, 3], 2, work)).rejects.toThrow('second')
    expect(await inParallel([], 2, work)).toEqual([])
  })
})
