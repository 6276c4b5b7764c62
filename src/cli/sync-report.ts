import type { SyncRun, SyncRunState } from '../mirror/runs/sync-run.ts'
import { runDurationSeconds } from '../mirror/runs/sync-run-schemas.ts'
import type { Problem } from './cli-errors.ts'
import { type Column, renderTable } from './table.ts'
import { type Output, type Paint, plainText } from './terminal.ts'

/** The result for one resource: its run, or the problem that prevented one. */
export type SyncResult =
  | { resource: string; run: SyncRun; problem: null }
  | { resource: string; run: null; problem: Problem }

/** Reports the progress of a sync to a person. */
export type SyncReporter = {
  /** @param expected an estimate of the number of objects. @returns the callbacks of the run. */
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

/** For `--json`: standard error is reserved for the problem document. */
export const silentReporter: SyncReporter = {
  begin: () => ({ onBegin() {}, onProgress() {} }),
  end() {},
}

/** A progress bar on a terminal; otherwise lines at the start, every few seconds and at the end. */
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

/** One line that is overwritten with each update. */
function createBar(err: Output, columns: () => number) {
  return {
    // A line as wide as the terminal would wrap, and could not be overwritten.
    draw: (text: (width: number) => string) => err.write(`\r${text(columns() - 1)}\u001b[K`),
    clear: () => err.write('\r\u001b[K'),
  }
}

export const RUN_STATE_STYLE = {
  queued: 'dim',
  running: 'cyan',
  succeeded: 'green',
  failed: 'red',
  cancelled: 'yellow',
} as const satisfies Record<SyncRunState, keyof Paint>

const number = (count: number) => count.toLocaleString('en-US')

/** The duration of a run in seconds, with one decimal. */
export function secondsText(run: SyncRun): string | null {
  return runDurationSeconds(run)?.toFixed(1) ?? null
}

/** `customers: 3,400 fetched, 34 requests` */
function progressText({ resource, counts, requests }: SyncRun): string {
  return `${resource}: ${number(counts.fetched)} fetched, ${number(requests)} requests`
}

const BAR = 24

/** The same as one line of a terminal, with a bar if the number of objects is estimated. */
function barText(
  at: { run: SyncRun; expected: number | null; seconds: number },
  width: number,
): string {
  const { run, expected, seconds } = at
  const { fetched } = run.counts
  const done = expected === null ? null : Math.min(fetched / expected, 1)
  const filled = done === null ? null : Math.round(done * BAR)
  const parts = [
    run.resource,
    ...(filled === null ? [] : [`${'█'.repeat(filled)}${'░'.repeat(BAR - filled)}`]),
    `${number(fetched)}${expected === null ? '' : ` of about ${number(expected)}`}`,
    `${number(run.requests)} requests`,
    `${Math.floor(seconds)} s`,
  ]
  return parts.join('  ').slice(0, Math.max(width, 0))
}

/** The result of a resource, in one line. */
function endText({ resource, run, problem }: SyncResult): string {
  if (run === null) return `${resource}: not started, ${problem.detail} (${problem.code})`
  const seconds = secondsText(run)
  const took = seconds === null ? '' : ` in ${seconds} s`
  return `${resource}: ${run.state}, ${number(run.counts.fetched)} fetched${took}`
}

const count = (head: string, of: (run: SyncRun) => number): Column<SyncResult> => ({
  head,
  cell: ({ run }) => run && of(run),
  align: 'right',
})

const COLUMNS: readonly Column<SyncResult>[] = [
  { head: 'RESOURCE', cell: ({ resource }) => resource },
  {
    head: 'STATE',
    cell: ({ run }) => run?.state ?? 'not started',
    paint: ({ run }, paint) => paint[run === null ? 'red' : RUN_STATE_STYLE[run.state]],
  },
  count('FETCHED', ({ counts }) => counts.fetched),
  count('CREATED', ({ counts }) => counts.created),
  count('UPDATED', ({ counts }) => counts.updated),
  count('UNCHANGED', ({ counts }) => counts.unchanged),
  count('DELETED', ({ counts }) => counts.deleted),
  count('FAILED', ({ counts }) => counts.failed),
  count('REQUESTS', ({ requests }) => requests),
  { head: 'SECONDS', cell: ({ run }) => run && secondsText(run), align: 'right' },
]

/** The result of each resource, then the failures, and the planned changes of a dry run. */
export function syncSummary(results: readonly SyncResult[], paint: Paint): string {
  if (results.length === 0) return 'Nothing was synced.\n'
  return [
    renderTable(results, COLUMNS, paint),
    ...results.flatMap((result) => remarkOf(result, paint)),
    ...results.flatMap(({ run }) => (run === null ? [] : detailsOf(run, paint))),
  ].join('')
}

function remarkOf({ resource, run, problem }: SyncResult, paint: Paint): string[] {
  if (run === null) return [remark(resource, problem.detail, problem.code, paint)]
  if (run.error === null) return []
  const { message, code, stripe_request_id: request } = run.error
  return [remark(resource, message, request === null ? code : `${code}, ${request}`, paint)]
}

function remark(resource: string, message: string, code: string, paint: Paint): string {
  return `\n${paint.red(`${resource}:`)} ${plainText(message)} ${paint.dim(`(${code})`)}\n`
}

const WOULD = { created: 'create', updated: 'update', deleted: 'delete', failed: 'fail' } as const

function detailsOf({ resource, options, counts, details }: SyncRun, paint: Paint): string[] {
  const { dryRun } = options
  const shown = dryRun ? details : details.filter(({ outcome }) => outcome === 'failed')
  const changes = counts.created + counts.updated + counts.deleted
  const all = counts.failed + (dryRun ? changes : 0)
  const lines = shown.map(({ id, outcome, message }) =>
    plainText(
      `  ${dryRun ? WOULD[outcome] : outcome} ${id}${message === null ? '' : ` ${message}`}`,
    ),
  )
  if (all > shown.length) lines.push(`  and ${number(all - shown.length)} more`)
  if (lines.length === 0) return dryRun ? [`\n${resource}: nothing would change.\n`] : []
  const title = dryRun ? `${resource}, changes that a sync would make:` : `${resource}, failures:`
  return [`\n${paint.bold(title)}\n${lines.join('\n')}\n`]
}
