import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { listByWindow } from '../../../src/mirror/runs/list-by-window.ts'
import { readCursor, type Window } from '../../../src/mirror/runs/sync-run.ts'
import { type ListedObjects, listObjects } from './listed-objects.ts'

const START = Date.UTC(2027, 0, 1) / 1000

const EVERYTHING: Window = { variant: 0, gte: null, lt: null, after: null, oldest: null }

afterEach(() => vi.restoreAllMocks())

/** Simulates the wait for each page, which decides where the listing splits. */
function waitFor(milliseconds: () => number): void {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += milliseconds()))
}

type Walked = { stored: string[]; cursors: Window[][] }

/**
 * Stores pages as a run does, starting with `windows`. The process is killed after a number of stored
 * pages, when the next one has arrived. Returns the stored objects and their cursors.
 */
async function walkUntilKilled(
  list: ListedObjects,
  windows: Window[],
  options: { pages?: number; canSplit?: boolean; onPage?: (last: string) => void } = {},
): Promise<Walked & { killed: boolean }> {
  const { pages = Number.POSITIVE_INFINITY, canSplit = true, onPage } = options
  const walked: Walked = { stored: [], cursors: [] }
  for await (const page of listByWindow(list.walk, windows, canSplit)) {
    if (walked.cursors.length === pages) return { ...walked, killed: true }
    walked.stored.push(...page.objects.map(({ id }) => id))
    // As Postgres stores it.
    const cursor = readCursor(JSON.parse(JSON.stringify(page.advance())))
    if (cursor?.by !== 'windows') throw new Error('The cursor cannot be read again')
    walked.cursors.push(cursor.windows)
    onPage?.(page.objects.at(-1)?.id ?? '')
  }
  return { ...walked, killed: false }
}

const missingIn = (stored: Iterable<string>, list: ListedObjects) => {
  const seen = new Set(stored)
  return list.ids().filter((id) => !seen.has(id))
}

const spread = (count: number, seconds = 1) =>
  Array.from({ length: count }, (_, index) => START + index * seconds)

describe('listByWindow', () => {
  it('requests one page after the other if windows are of no use', async () => {
    const list = listObjects(spread(250))
    const { stored, cursors } = await walkUntilKilled(list, [EVERYTHING])
    expect(stored).toEqual(list.ids())
    expect(list.requests).toHaveLength(3)
    expect(cursors.at(-1)).toEqual([])
  })

  it('requests the next page while the previous one is stored', async () => {
    const list = listObjects(spread(250))
    const walk = listByWindow(list.walk, [EVERYTHING], true)
    await walk.next()
    expect(list.requests).toHaveLength(2)
    await walk.return(undefined)
  })

  it('splits a large list into windows and reads each object once or twice', async () => {
    waitFor(() => 10)
    const list = listObjects(spread(3_000, 60))
    const { stored } = await walkUntilKilled(list, [EVERYTHING])
    expect(missingIn(stored, list)).toEqual([])
    expect(list.requests.some(({ params }) => params.created?.lt !== undefined)).toBe(true)
    expect(stored.length).toBeLessThan(2 * 3_000)
  })

  it('does not split while Postgres is the bottleneck', async () => {
    waitFor(() => 10)
    const list = listObjects(spread(3_000, 60))
    list.walk.idleSince = () => Number.POSITIVE_INFINITY
    const { stored } = await walkUntilKilled(list, [EVERYTHING])
    expect(stored).toEqual(list.ids())
    expect(list.requests).toHaveLength(30)
  })
})

describe('deleting the object at the position', () => {
  const deleteLastOfFirstPage = (list: ListedObjects) => {
    let first = true
    return (last: string) => {
      if (first) list.remove(last)
      first = false
    }
  }

  it('misses no other object: the listing continues from its creation time', async () => {
    // Two objects have the same second, and the page boundary is between them.
    const list = listObjects(spread(251).map((time) => time - (time % 2)))
    // Without a delay the second request would be answered before the deletion.
    const slow = listWithGate(list)
    const walking = walkUntilKilled(slow.list, [EVERYTHING], {
      onPage: (last) => {
        deleteOnce(last)
        slow.open()
      },
    })
    const deleteOnce = deleteLastOfFirstPage(list)
    const { stored } = await walking
    expect(missingIn(stored, list)).toEqual([])
    const [, refused, anew] = list.requests
    const last = Number(stored[99]?.replace('cus_', ''))
    const oldest = START + last - (last % 2)
    expect(refused?.params.starting_after).toBe(stored[99])
    expect(anew?.params).toEqual({ limit: 100, created: { lt: oldest + 1 } })
  })

  it('restarts the listing if the list accepts no `created` filter', async () => {
    const list = listObjects(spread(250))
    const slow = listWithGate(list)
    const deleteOnce = deleteLastOfFirstPage(list)
    const { stored } = await walkUntilKilled(slow.list, [EVERYTHING], {
      canSplit: false,
      onPage: (last) => {
        deleteOnce(last)
        slow.open()
      },
    })
    expect(missingIn(stored, list)).toEqual([])
    expect(list.requests[2]?.params).toEqual({ limit: 100 })
  })

  it('is handled by the process that resumes the run after a kill', async () => {
    const list = listObjects(spread(250))
    const { stored, cursors } = await walkUntilKilled(list, [EVERYTHING], { pages: 1 })
    list.remove(stored.at(-1) ?? '')
    const rest = await walkUntilKilled(list, cursors[0] ?? [])
    expect(missingIn([...stored, ...rest.stored], list)).toEqual([])
  })

  it('does not hide an error of the list itself', async () => {
    const list = listObjects(spread(10))
    list.remove('cus_0')
    const fetch: typeof list.walk.fetch = () =>
      list.walk.fetch({ params: { limit: 100, starting_after: 'cus_0' } })
    const refused = { ...list, walk: { ...list.walk, fetch } }
    await expect(walkUntilKilled(refused, [EVERYTHING])).rejects.toThrow('No such customer')
  })
})

/** Answers the first request immediately and the others when the gate opens. */
function listWithGate(list: ListedObjects) {
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  const fetch: typeof list.walk.fetch = async (request) => {
    if (request.params.starting_after !== undefined) await opened
    return list.walk.fetch(request)
  }
  return { open: () => open(), list: { ...list, walk: { ...list.walk, fetch } } }
}

describe('with any list, any response times and any splits', () => {
  const turns = async (count: number) => {
    for (let turn = 0; turn < count; turn += 1) {
      await new Promise<void>((resolve) => void setImmediate(resolve))
    }
  }

  const world = fc.record({
    times: fc.array(fc.integer({ min: START - 40_000, max: START }), {
      maxLength: 1_500,
      size: 'max',
    }),
    pageSize: fc.integer({ min: 40, max: 100 }),
    // In turns of the event loop, and in simulated milliseconds. Both are repeated cyclically.
    delays: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 20 }),
    waits: fc.array(fc.constantFrom(0, 10), { minLength: 1, maxLength: 20 }),
    kills: fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 4 }),
    deletions: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 4 }),
  })

  const cycle = (values: readonly number[]) => {
    let index = 0
    return () => values[index++ % values.length] ?? 0
  }

  it('every object is stored, also after several kills and deletions at positions', async () => {
    let splits = 0
    let restarts = 0
    await fc.assert(
      fc.asyncProperty(world, async ({ times, pageSize, delays, waits, kills, deletions }) => {
        const delay = cycle(delays)
        waitFor(cycle(waits))
        const list = listObjects(times, { pageSize, delay: () => turns(delay()) })
        const stored = new Set<string>()
        const killsLeft = [...kills]
        let windows = [EVERYTHING]
        let page = 0
        for (let killed = true; killed; ) {
          const pages = killsLeft.shift() ?? Number.POSITIVE_INFINITY
          const walked = await walkUntilKilled(list, windows, {
            pages,
            onPage(last) {
              if (deletions.includes(page)) list.remove(last)
              page += 1
            },
          })
          for (const id of walked.stored) stored.add(id)
          windows = walked.cursors.at(-1) ?? windows
          if (walked.cursors.some(({ length }) => length > 1)) splits += 1
          if (walked.killed) restarts += 1
          killed = walked.killed
        }
        expect(missingIn(stored, list)).toEqual([])
        // An empty list has no page with a cursor.
        const unread = times.length === 0 ? [] : windows
        expect(unread).toEqual([])
      }),
      { numRuns: 60 },
    )
    // Otherwise the test proves nothing.
    expect({ splits, restarts }).toEqual({
      splits: expect.toSatisfy((count: number) => count > 10),
      restarts: expect.toSatisfy((count: number) => count > 10),
    })
  }, 120_000)
})
