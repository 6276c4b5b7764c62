import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { currentWork, errorName, runWork, type Work } from '../shared/work-context.ts'

export type StatementWatchOptions = {
  logger: Pick<Logger, 'warn'>
  metrics: Pick<ServiceMetrics, 'slowStatement'>
  /** Slower statements are logged. Null: none. */
  slowMs: number | null
}

/** Called with a statement that is about to be sent. Returns what to call with its end, or null. */
export type StatementWatch = (text: string) => ((error: unknown) => void) | null

/**
 * Watches the statements of one connection: it logs slow ones, and adds those of traced work to the trace. A
 * statement appears with its name and with its text, in which values are parameters.
 */
export function watchStatements({
  logger,
  metrics,
  slowMs,
}: StatementWatchOptions): StatementWatch {
  let answeredAt = 0
  const threshold = slowMs ?? Number.POSITIVE_INFINITY

  function report(text: string, work: Work | null, ms: number): void {
    const statement = statementName(text)
    metrics.slowStatement(statement)
    // The answer arrives outside of the work that waits for it.
    runWork(work, () =>
      logger.warn(
        { statement, ms: Math.round(ms), sql: short(withoutValues(text)) },
        'slow statement',
      ),
    )
  }

  return (text) => {
    const work = currentWork()
    const span = work?.span ?? null
    if (slowMs === null && span === null) return null
    const sentAt = performance.now()
    return (error) => {
      // It takes no time, and its answer comes with that of the first statement of the transaction.
      if (text.startsWith('begin')) return
      const now = performance.now()
      // Postgres begins a statement after it has answered the ones that were sent before it.
      const startedAt = Math.max(sentAt, answeredAt)
      answeredAt = now
      if (now - startedAt >= threshold) report(text, work, now - startedAt)
      if (span === null) return
      const name = statementName(text)
      span.record({
        name,
        kind: 'client',
        startedAt,
        attributes: { 'db.system.name': 'postgresql', 'db.query.summary': name },
        error: error === null || error === undefined ? undefined : errorName(error),
      })
    }
  }
}

const MAX_NAMES = 2_000
const names = new Map<string, string>()

/** The name of a statement: what it does to which table, such as `update stripe_events`. */
export function statementName(text: string): string {
  const known = names.get(text)
  if (known !== undefined) return known
  const name = nameOf(text)
  if (names.size < MAX_NAMES) names.set(text, name)
  return name
}

const IDENTIFIER = '"?([a-z_]\\w*(?:"?\\."?[a-z_]\\w*)?)"?'
// Not `for update`, `for no key update` and `do update set`.
const WRITE = new RegExp(
  `(?<!\\b(?:for|key|do) )\\b(insert into|update|delete from) (?:only )?${IDENTIFIER}`,
)
// Not a function, and not the column in `extract(epoch from …)`.
const READ = new RegExp(`(?<!\\(\\w+ )\\b(?:from|join) ${IDENTIFIER}(?![\\w."]| ?\\()`, 'g')
const SUB_QUERY = new RegExp(
  `(?:\\bwith|,) ${IDENTIFIER}(?: \\([^)]*\\))? as (?:not )?(?:materialized )?\\(`,
  'g',
)
const FUNCTION = new RegExp(`\\bselect ${IDENTIFIER} ?\\(`)

function nameOf(sql: string): string {
  const text = withoutValues(sql).toLowerCase()
  const write = WRITE.exec(text)
  if (write !== null) return `${write[1]?.split(' ')[0]} ${plain(write[2])}`
  const [first = ''] = text.split(/\W/)
  if (first !== 'with' && first !== 'select') return first
  const own = new Set([...text.matchAll(SUB_QUERY)].map(([, name]) => name))
  const table = [...text.matchAll(READ)].map(([, name]) => name).find((name) => !own.has(name))
  const called = table ?? FUNCTION.exec(text)?.[1]
  return called === undefined ? 'select' : `select ${plain(called)}`
}

const plain = (name = '') => name.replaceAll('"', '')

/** The text of a statement on one line. Our values are parameters; what is quoted in it is left out too. */
const withoutValues = (text: string) =>
  text
    .replace(/--[^\n]*/g, '')
    .replace(/e?'(?:[^'\\]|''|\\.)*'/gi, "'?'")
    .replace(/\s+/g, ' ')
    .trim()

const MAX_TEXT = 1_000

const short = (text: string) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text)
