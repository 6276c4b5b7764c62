import { describe, expect, it } from 'vitest'
import { inGroups } from '../../src/shared/in-groups.ts'

type Running = { items: number[]; end: (error?: Error) => void }

/** Groups whose ends the test decides. */
function groupsInHand(more: { inFlight?: number; splits?: () => boolean } = {}) {
  const running: Running[] = []
  const call = inGroups<number, number>({
    inFlight: 2,
    ...more,
    run: (items) =>
      new Promise((resolve, reject) => {
        const end = (error?: Error) =>
          error === undefined ? resolve(items.map((item) => item * 10)) : reject(error)
        running.push({ items, end })
      }),
  })
  const begun = () => running.map(({ items }) => items)
  return { call, running, begun }
}

describe('calls in groups', () => {
  it('share the work of one turn, and a lone call waits for no other', async () => {
    const { call, running, begun } = groupsInHand()
    const alone = call(1)
    await expect.poll(begun).toEqual([[1]])
    const together = [call(2), call(3)]
    await expect.poll(begun).toEqual([[1], [2, 3]])
    for (const { end } of running) end()
    expect(await Promise.all([alone, ...together])).toEqual([10, 20, 30])
  })

  it('wait for the next group while as many as allowed are in flight', async () => {
    const { call, running, begun } = groupsInHand({ inFlight: 1 })
    const first = call(1)
    await expect.poll(begun).toEqual([[1]])
    const more = [call(2), call(3)]
    running[0]?.end()
    expect(await first).toBe(10)
    await expect.poll(begun).toEqual([[1], [2, 3]])
    running[1]?.end()
    expect(await Promise.all(more)).toEqual([20, 30])
  })

  it('fail together', async () => {
    const { call, running, begun } = groupsInHand()
    const both = Promise.allSettled([call(1), call(2)])
    await expect.poll(begun).toEqual([[1, 2]])
    running[0]?.end(new Error('no database'))
    const reason = new Error('no database')
    expect(await both).toEqual([
      { status: 'rejected', reason },
      { status: 'rejected', reason },
    ])
  })

  it('run one by one after a failure of the group, if that can help', async () => {
    const { call, running, begun } = groupsInHand({ splits: () => true })
    const both = Promise.allSettled([call(1), call(2)])
    await expect.poll(begun).toHaveLength(1)
    running[0]?.end(new Error('one of them'))
    await expect.poll(begun).toEqual([[1, 2], [1]])
    running[1]?.end(new Error('the first'))
    await expect.poll(begun).toEqual([[1, 2], [1], [2]])
    running[2]?.end()
    expect(await both).toEqual([
      { status: 'rejected', reason: new Error('the first') },
      { status: 'fulfilled', value: 20 },
    ])
  })
})
