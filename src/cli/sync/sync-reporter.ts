import type { SyncRun } from '../../stripe/sync/runs/sync-run.ts'
import { barText, endText, progressText } from '../output/sync-text.ts'
import type { Output } from '../output/terminal.ts'
import type { SyncResult } from './run-syncs.ts'

/** Tells a person how a sync goes on. */
export type SyncReporter = {
  /** @param expected how many objects there may be. @returns what the run is to call. */
  begin(
    resource: string,
    expected: number | null,
  ): {
    onBegin: (run: SyncRun, isResumed: boolean) => void
    onProgress: (run: SyncRun) => void
  }
  end(result: SyncResult): void
}

const REDRAW_MS = 200
const LINE_MS = 5_000

/** For `--json`: standard error is kept for the problem document. */
export const silentReporter: SyncReporter = {
  begin: () => ({ onBegin() {}, onProgress() {} }),
  end() {},
}

/** A bar on a terminal; elsewhere a line at both ends of each resource and every few seconds. */
export function createSyncReporter(err: Output): SyncReporter {
  const { columns } = err
  const bar = columns === undefined ? null : createBar(err, columns)
  let timer: NodeJS.Timeout | undefined
  return {
    begin(resource, expected) {
      let latest: SyncRun | null = null
      const began = performance.now()
      const show = () => {
        const run = latest
        if (run === null) return
        const seconds = (performance.now() - began) / 1000
        if (bar === null) err.write(`${progressText(run)}\n`)
        else bar.draw((width) => barText({ run, expected, seconds }, width))
      }
      timer = setInterval(show, bar === null ? LINE_MS : REDRAW_MS)
      return {
        onBegin(run, isResumed) {
          latest = run
          if (isResumed) {
            err.write(`${resource}: resuming ${run.id}, ${run.counts.fetched} fetched so far\n`)
          } else if (bar === null) err.write(`${resource}: started ${run.id}\n`)
        },
        onProgress(run) {
          latest = run
        },
      }
    },
    end(result) {
      clearInterval(timer)
      bar?.clear()
      err.write(`${endText(result)}\n`)
    },
  }
}

/** One line that is written over again and again. */
function createBar(err: Output, columns: () => number) {
  return {
    // A line as wide as the terminal would wrap, and then not be written over.
    draw: (text: (width: number) => string) => err.write(`\r${text(columns() - 1)}\u001b[K`),
    clear: () => err.write('\r\u001b[K'),
  }
}
