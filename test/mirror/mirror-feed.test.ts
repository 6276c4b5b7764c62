import { expect, it } from 'vitest'
import { createBestEffortQueue } from '../../src/mirror/mirror-feed.ts'

function newQueue(timeoutMs?: number) {
  const warnings: object[] = []
  const logger = { warn: (details: object) => void warnings.push(details) }
  return { queue: createBestEffortQueue(logger, timeoutMs), warnings }
}

/** A promise that the test resolves. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

it('runs tasks one at a time, in order', async () => {
  const { queue, warnings } = newQueue()
  const { opened, open } = gate()
  const started: number[] = []
  const task = (n: number) => async () => {
    started.push(n)
    if (n === 1) await opened
    return n
  }
  const results = [1, 2, 3].map((n) => queue.run('task', task(n)))
  await expect.poll(() => started).toEqual([1])
  open()
  expect(await Promise.all(results)).toEqual([1, 2, 3])
  expect(started).toEqual([1, 2, 3])
  expect(warnings).toEqual([])
})

it('logs a failed task and runs the next one', async () => {
  const { queue, warnings } = newQueue()
  const failing = () => Promise.reject(new Error('the table is gone'))
  expect(await queue.run('task', failing)).toBeUndefined()
  expect(await queue.run('task', async () => 'done')).toBe('done')
  expect(warnings).toEqual([{ what: 'task', error: 'Error: the table is gone' }])
})

it('stops waiting for an overdue task, and skips further tasks until it ends', async () => {
  const timeoutMs = 50
  const { queue, warnings } = newQueue(timeoutMs)
  const { opened, open } = gate()
  const started: string[] = []
  const task = (name: string) => async () => {
    started.push(name)
    if (name === 'stuck') await opened
    return name
  }
  const stuck = queue.run('stuck', task('stuck'))
  const waiting = queue.run('waiting', task('waiting'))
  expect(await Promise.all([stuck, waiting])).toEqual([undefined, undefined])
  expect(warnings).toEqual([
    { what: 'stuck', error: `not done after ${timeoutMs} ms` },
    { what: 'waiting', error: `not done after ${timeoutMs} ms` },
  ])
  const lastWarning = async () => {
    expect(await queue.run('later', task('later'))).toBeUndefined()
    return warnings.at(-1)
  }
  await expect.poll(lastWarning).toEqual({ what: 'later', error: 'an earlier task is overdue' })
  open()
  await expect.poll(() => queue.run('again', task('again'))).toBe('again')
  expect(started).toEqual(['stuck', 'again'])
})
