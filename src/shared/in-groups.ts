import { currentWork, runWork, type Work } from './work-context.ts'

/** How calls that arrive together share work. */
export type GroupOptions<Item, Result> = {
  /** Does the work of one group. Returns the results in the order of the items. */
  run: (items: Item[]) => Promise<Result[]>
  /** Maximum number of groups in flight. Items that arrive meanwhile wait for the next group. */
  inFlight: number
  /** How many of the waiting items the next group takes, at least one. Absent: all. */
  sizeOf?: (waiting: readonly Item[]) => number
  /** Whether the items of a failed group run again, one by one. Absent: all of them fail. */
  splits?: (error: unknown, items: readonly Item[]) => boolean
}

type Call<Item, Result> = {
  item: Item
  resolve: (result: Result) => void
  reject: (error: unknown) => void
  work: Work | null
}

/** A group of several calls has the ids of none of them; the trace of the first call shows its statement. */
function workOf([first, ...others]: readonly { work: Work | null }[]): Work | null {
  const work = first?.work ?? null
  return work === null || others.length === 0 ? work : { subject: {}, span: work.span }
}

/**
 * A function that handles one item together with others. It never waits for others to arrive: a group
 * takes what is waiting when it begins. The work for an item begins after its call, so a read for a group
 * is as fresh as a read for one caller.
 */
export function inGroups<Item, Result>(
  options: GroupOptions<Item, Result>,
): (item: Item) => Promise<Result> {
  const { run, inFlight, sizeOf, splits } = options
  const waiting: Call<Item, Result>[] = []
  let running = 0
  let isScheduled = false

  function begin(): void {
    isScheduled = false
    while (waiting.length > 0 && running < inFlight) {
      const size = sizeOf?.(waiting.map(({ item }) => item)) ?? waiting.length
      running += 1
      const group = waiting.splice(0, size)
      void runWork(workOf(group), () => finish(group))
    }
  }

  async function finish(group: Call<Item, Result>[]): Promise<void> {
    await runGroup(group)
    running -= 1
    begin()
  }

  async function runGroup(group: Call<Item, Result>[]): Promise<void> {
    const items = group.map(({ item }) => item)
    try {
      const results = await run(items)
      // `run` returns a result for each item.
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as Result)
    } catch (error) {
      if (group.length === 1 || !splits?.(error, items)) {
        for (const { reject } of group) reject(error)
        return
      }
      for (const call of group) await runGroup([call])
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject, work: currentWork() })
      if (isScheduled || running >= inFlight) return
      isScheduled = true
      // Calls of the same turn of the event loop join the group.
      setImmediate(begin)
    })
}
