import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { listByWindow } from '../../../src/mirror/runs/list-by-window.ts'
import { readCursor, type Window } from '../../../src/mirror/runs/sync-run.ts'
import { type ListedObjects, listObjects } from './listed-objects.ts'

const START = Date.UTC(2027, 0, 1) / 1000

const EVERYTHING: Window = { variant: 0, gte: null, lt: null, after: null, oldest: null }

afterEach(() => vi.restoreAllMocks())

/** Makes the walk believe that it waited so long for each page, which decides where it splits. */
function waitFor(milliseconds: () => number): void {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += milliseconds()))
}

type Walked = { stored: string[]; cursors: Window[][] }

/**
 * Stores pages as a run does, from `windows` on, until the process is killed when so many pages are
 * stored and the next one has come. Returns what is stored and the cursors that went with it.
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
    // As Postgres keeps it.
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

describe('a walk through a list', () => {
  it('asks for one page after the other when nothing can be gained by windows', async () => {
    const list = listObjects(spread(250))
    const { stored, cursors } = await walkUntilKilled(list, [EVERYTHING])
    expect(stored).toEqual(list.ids())
    expect(list.requests).toHaveLength(3)
    expect(cursors.at(-1)).toEqual([])
  })

  it('asks for the next page while the one before is being stored', async () => {
    const list = listObjects(spread(250))
    const walk = listByWindow(list.walk, [EVERYTHING], true)
    await walk.next()
    expect(list.requests).toHaveLength(2)
    await walk.return(undefined)
  })

  it('cuts a large list into windows and reads each object once or twice', async () => {
    waitFor(() => 10)
    const list = listObjects(spread(3_000, 60))
    const { stored } = await walkUntilKilled(list, [EVERYTHING])
    expect(missingIn(stored, list)).toEqual([])
    expect(list.requests.some(({ params }) => params.created?.lt !== undefined)).toBe(true)
    expect(stored.length).toBeLessThan(2 * 3_000)
  })

  it('cuts nothing while it is Postgres, not Stripe, that is waited for', async () => {
    waitFor(() => 10)
    const list = listObjects(spread(3_000, 60))
    list.walk.idleSince = () => Number.POSITIVE_INFINITY
    const { stored } = await walkUntilKilled(list, [EVERYTHING])
    expect(stored).toEqual(list.ids())
    expect(list.requests).toHaveLength(30)
  })
})

describe('an object that is deleted at Stripe while the walk stands behind it', () => {
  const deleteLastOfFirstPage = (list: ListedObjects) => {
    let first = true
    return (last: string) => {
      if (first) list.remove(last)
      first = false
    }
  }

  it('costs no other: the walk goes on by the time of its creation', async () => {
    // Two of a second: of the last one's second, one is on the page after.
    const list = listObjects(spread(251).map((time) => time - (time % 2)))
    // Without delay the second request would be answered before the object is gone.
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

  it('makes the walk begin anew where the list takes no times', async () => {
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

  it('is passed over by the process that goes on after a kill', async () => {
    const list = listObjects(spread(250))
    const { stored, cursors } = await walkUntilKilled(list, [EVERYTHING], { pages: 1 })
    list.remove(stored.at(-1) ?? '')
    const rest = await walkUntilKilled(list, cursors[0] ?? [])
    expect(missingIn([...stored, ...rest.stored], list)).toEqual([])
  })

  it('ends the walk when the list itself is refused', async () => {
    const list = listObjects(spread(10))
    list.remove('cus_0')
    const fetch: typeof list.walk.fetch = () =>
      list.walk.fetch({ params: { limit: 100, starting_after: 'cus_0' } })
    const refused = { ...list, walk: { ...list.walk, fetch } }
    await expect(walkUntilKilled(refused, [EVERYTHING])).rejects.toThrow('No such customer')
  })
})

/** The first answer comes at once, those after it when the gate is opened. */
function listWithGate(list: ListedObjects) {
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  const fetch: typeof list.walk.fetch = async (request) => {
    if (request.params.starting_after !== undefined) await opened
    return list.walk.fetch(request)
  }
  return { open: () => open(), list: { ...list, walk: { ...list.walk, fetch } } }
}

describe('whatever lies in a list, however long the answers take, and wherever it is split', () => {
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
    // In turns of the event loop and in milliseconds that the walk is told; both are gone through
    // again and again.
    delays: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 20 }),
    waits: fc.array(fc.constantFrom(0, 10), { minLength: 1, maxLength: 20 }),
    kills: fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 4 }),
    deletions: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 4 }),
  })

  const cycle = (values: readonly number[]) => {
    let index = 0
    return () => values[index++ % values.length] ?? 0
  }

  it('every object is stored, also over several kills and deletions behind cursors', async () => {
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
        // A list of nothing has no page that could tell a cursor.
        const unread = times.length === 0 ? [] : windows
        expect(unread).toEqual([])
      }),
      { numRuns: 60 },
    )
    // Else it would say nothing.
    expect({ splits, restarts }).toEqual({
      splits: expect.toSatisfy((count: number) => count > 10),
      restarts: expect.toSatisfy((count: number) => count > 10),
    })
  }, 120_000)
})
