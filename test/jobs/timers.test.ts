import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import type { Repeated } from '../../src/jobs/repeat.ts'
import { startTimers, type Timer } from '../../src/jobs/timers.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { silent } from './job-kit.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const database = useTestDatabase()
const stops: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  const db = open()
  await db.raw('create table if not exists firings (timer text, process int, at timestamptz)')
  await db('firings').delete()
  await db('timers').delete()
})
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})

function open(): Db {
  const db = connect(database.connectionString)
  stops.push(() => db.destroy())
  return db
}

function start(timers: readonly Timer[]): Repeated {
  const running = startTimers({ db: open(), logger: silent, timers })
  stops.push(() => running.stop())
  return running
}

const recording = (name: string, everySeconds: number, process = 1): Timer => ({
  name,
  everySeconds,
  fire: async (trx) => {
    await trx('firings').insert({ timer: name, process, at: trx.raw('now()') })
  },
})

const firings = (db: Db, timer: string) =>
  db('firings').where({ timer }).orderBy('at').select<{ process: number; at: Date }[]>()

it('fires once per interval for any number of workers', async () => {
  const db = open()
  const everySeconds = 1
  for (const process of [1, 2, 3]) start([recording('sweep', everySeconds, process)])
  await expect.poll(() => firings(db, 'sweep'), POLL_OPTIONS).toHaveLength(4)
  const times = (await firings(db, 'sweep')).map(({ at }) => at.getTime())
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0))
  // Recorded by the clock of the claim, the start of its transaction, in whole milliseconds.
  for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(everySeconds * 1000 - 1)
})

it('does not fire a timer that another process fired in the interval', async () => {
  const db = open()
  const first = start([recording('hourly', 3600, 1)])
  await expect.poll(() => firings(db, 'hourly'), POLL_OPTIONS).toHaveLength(1)
  await first.stop()
  start([recording('hourly', 3600, 2), recording('probe', 0.2, 2)])
  await expect.poll(async () => (await firings(db, 'probe')).length).toBeGreaterThanOrEqual(3)
  expect(await firings(db, 'hourly')).toMatchObject([{ process: 1 }])
})

it('fires again after a failure, because the claim was rolled back', async () => {
  const db = open()
  let tries = 0
  start([
    {
      name: 'flaky',
      everySeconds: 3600,
      async fire(trx) {
        await trx('firings').insert({ timer: 'flaky', process: tries })
        tries += 1
        if (tries === 1) throw new Error('not yet')
      },
    },
    recording('other', 3600),
  ])
  await expect.poll(() => firings(db, 'flaky'), POLL_OPTIONS).toMatchObject([{ process: 1 }])
  expect(await firings(db, 'other')).toHaveLength(1)
})

it('follows a shortened interval', async () => {
  const db = open()
  const first = start([recording('events', 3600)])
  await expect.poll(() => firings(db, 'events'), POLL_OPTIONS).toHaveLength(1)
  await first.stop()
  start([recording('events', 1)])
  await expect
    .poll(async () => (await firings(db, 'events')).length, POLL_OPTIONS)
    .toBeGreaterThanOrEqual(2)
})
