import type Stripe from 'stripe'
import { changeRow, requireRow } from '../core/changes.ts'
import type { Cancel } from '../core/clock.ts'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

/** @see https://docs.stripe.com/api/test_clocks */
export const testClocks = defineTable<Stripe.TestHelpers.TestClock>('test_helpers.test_clock')

type Task = { due: number; run: () => void }

/** The tasks that are due in the time of a test clock. */
const testClockTasks = defineTable<{ id: string; tasks: readonly Task[] }>(
  'test_helpers.test_clock.tasks',
  { hidden: true },
)

const THIRTY_DAYS = 30 * 24 * 60 * 60

/**
 * Stores a new clock that stands still at that time, without an event. @param frozenTime seconds.
 */
export function insertTestClock(
  { account, world }: Scope,
  frozenTime: number,
  name: string | null,
): Stripe.TestHelpers.TestClock {
  const created = world.clock.seconds()
  const id = fakeId('clock_1')
  account.rows(testClockTasks).insert({ id, tasks: [] })
  return account.rows(testClocks).insert({
    id,
    object: 'test_helpers.test_clock',
    created,
    deletes_after: created + THIRTY_DAYS,
    frozen_time: frozenTime,
    livemode: account.livemode,
    name,
    status: 'ready',
    status_details: {},
  })
}

/** The time of the test clock or, without one, of the fake, in seconds since 1970. */
export function nowBy({ account, world }: Scope, testClock: string | null): number {
  const clock = testClock === null ? undefined : account.rows(testClocks).get(testClock)
  return clock?.frozen_time ?? world.clock.seconds()
}

/**
 * Runs `run` when the test clock or, without one, the fake's clock reaches `due`, in seconds since
 * 1970.
 */
export function runAt(
  scope: Scope,
  testClock: string | null,
  due: number,
  run: () => void,
): Cancel {
  if (testClock === null) return scope.world.clock.at(due * 1000, run)
  const task = { due, run }
  changeTasks(scope, testClock, (tasks) => [...tasks, task].toSorted((a, b) => a.due - b.due))
  return () => changeTasks(scope, testClock, (tasks) => tasks.filter((other) => other !== task))
}

/** Advances the clock; tasks that become due run first, each at its own time. */
export function runUntil(scope: Scope, id: string, target: number): void {
  for (;;) {
    const [next] = requireRow(scope, testClockTasks, id).tasks
    if (next === undefined || next.due > target) break
    changeTasks(scope, id, ([_first, ...rest]) => rest)
    const { frozen_time: now } = requireRow(scope, testClocks, id)
    changeRow(scope, testClocks, id, { frozen_time: Math.max(now, next.due) })
    next.run()
  }
  changeRow(scope, testClocks, id, { frozen_time: target })
}

function changeTasks(
  scope: Scope,
  id: string,
  change: (tasks: readonly Task[]) => readonly Task[],
): void {
  const row = scope.account.rows(testClockTasks).get(id)
  if (row !== undefined) changeRow(scope, testClockTasks, id, { tasks: change(row.tasks) })
}
