import { type ReactNode, useEffect, useState } from 'react'
import { copyText } from './clipboard.ts'
import { formatAgo, formatExactTime, formatMoney, formatTime } from './format.ts'
import { toast } from './toasts.tsx'

export function Money({ amount, currency }: { amount: number; currency: string }) {
  return <span className="number">{formatMoney(amount, currency)}</span>
}

/** A time in the reader's zone; its title has seconds and zone. */
export function When({ at, ago = false }: { at: string | null; ago?: boolean }) {
  const now = useNow(ago ? 10_000 : null)
  if (at === null) return <span className="muted">–</span>
  return (
    <time dateTime={at} title={formatExactTime(at)}>
      {ago ? formatAgo(at, now) : formatTime(at)}
    </time>
  )
}

/** When somebody was here, or something was used. */
export function LastUse({ at }: { at: string | null }) {
  return at === null ? <span className="muted">Never</span> : <When at={at} ago />
}

function useNow(everyMs: number | null): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    if (everyMs === null) return
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}

export type Tone = 'neutral' | 'busy' | 'good' | 'bad' | 'warn'

/** A short word with a colour. The word alone says everything. */
export function Badge({ tone = 'neutral', children }: { tone?: Tone; children: ReactNode }) {
  return <span className={`badge badge-${tone}`}>{children}</span>
}

const STATES: Record<string, { tone: Tone; word: string }> = {
  PENDING: { tone: 'neutral', word: 'Pending' },
  PROCESSING: { tone: 'busy', word: 'Processing' },
  PAID: { tone: 'good', word: 'Paid' },
  FAILED: { tone: 'bad', word: 'Failed' },
  REFUNDED: { tone: 'warn', word: 'Refunded' },
}

/** The state of a purchase, in the words of staff. */
export function StateBadge({ state }: { state: string }) {
  const known = STATES[state]
  return <Badge tone={known?.tone ?? 'neutral'}>{known?.word ?? state}</Badge>
}

/** Copies a text; says so on the button. */
export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 2_000)
    return () => clearTimeout(timer)
  }, [copied])
  return (
    <button
      type="button"
      className="button button-small"
      onClick={() => {
        copyText(text).then(
          () => setCopied(true),
          (error: Error) => toast({ text: error.message, kind: 'error' }),
        )
      }}
    >
      <span aria-live="polite">{copied ? 'Copied' : label}</span>
    </button>
  )
}

/** A big number with its name. */
export function Figure({
  name,
  value,
  hint,
}: {
  name: string
  value: ReactNode
  hint?: ReactNode
}) {
  return (
    <div className="figure">
      <dt>{name}</dt>
      <dd>
        <span className="figure-value">{value}</span>
        {hint === undefined ? null : <span className="muted">{hint}</span>}
      </dd>
    </div>
  )
}

export type Column<Row> = {
  head: string
  cell: (row: Row) => ReactNode
  /** Numbers are aligned to the right. */
  numeric?: boolean
}

/** A table that becomes a list of cards on a phone. */
export function DataTable<Row>({
  caption,
  columns,
  rows,
  keyOf,
}: {
  /** Read by screen readers. */
  caption: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  keyOf: (row: Row) => string
}) {
  return (
    <div className="table-frame">
      <table className="table">
        <caption className="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ head, numeric }) => (
              <th key={head} scope="col" className={numeric ? 'numeric' : undefined}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ head, cell, numeric }) => (
                <td key={head} data-head={head} className={numeric ? 'numeric' : undefined}>
                  <div>{cell(row)}</div>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
