import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createSyncReporter } from '../../src/cli/sync-report.ts'
import { NO_OPTIONS, type SyncRun } from '../../src/mirror/runs/sync-run.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function runWith(fetched: number): SyncRun {
  return {
    conferenceId: 'conf_1',
    id: 'sync_1',
    resource: 'customers',
    state: 'running',
    startedBy: 'cli',
    options: NO_OPTIONS,
    counts: { fetched, created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 },
    requests: fetched / 100,
    details: [],
    error: null,
    createdAt: new Date(0),
    startedAt: new Date(0),
    finishedAt: new Date(12_340),
  }
}

/** A whole sync of customers, of which half is there after twelve seconds. */
function narrated(columns?: number): string {
  const written: string[] = []
  const reporter = createSyncReporter({
    colours: false,
    write: (text) => void written.push(text),
    ...(columns === undefined ? {} : { columns: () => columns }),
  })
  const { onBegin, onProgress } = reporter.begin('customers', 20_000)
  onBegin(runWith(0), false)
  onProgress(runWith(10_000))
  vi.advanceTimersByTime(12_000)
  const run: SyncRun = { ...runWith(20_000), state: 'succeeded' }
  reporter.end({ resource: 'customers', run, problem: null })
  vi.advanceTimersByTime(60_000)
  return written.join('')
}

it('a log gets a line at the start, every five seconds, and at the end', () => {
  expect(narrated()).toBe(
    [
      'customers: started sync_1',
      'customers: 10,000 fetched, 100 requests',
      'customers: 10,000 fetched, 100 requests',
      'customers: succeeded, 20,000 fetched in 12.3 s',
      '',
    ].join('\n'),
  )
})

it('a terminal gets one line that is redrawn, never wider than the terminal', () => {
  const drawn = narrated(200).split('\r')
  expect(drawn.at(-2)).toBe(
    'customers  ████████████░░░░░░░░░░░░  10,000 of about 20,000  100 requests  12 s\u001b[K',
  )
  expect(drawn.at(-1)).toBe('\u001b[Kcustomers: succeeded, 20,000 fetched in 12.3 s\n')
  for (const line of narrated(30).split('\r').slice(1, -1)) {
    expect(line.replace('\u001b[K', '')).toHaveLength(29)
  }
})
