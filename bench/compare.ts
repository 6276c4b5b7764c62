import { cpus, loadavg } from 'node:os'
import { type Column, renderTable } from '../src/cli/table.ts'
import { createPaint } from '../src/cli/terminal.ts'

/** Does the work of one round. Returns its measure, such as how much was done in a second. */
export type Round = () => Promise<number>

/** Ours against a ceiling or another way: medians of the rounds. */
export type Comparison = {
  ours: number
  other: number
  /** Ours divided by the other one's, round by round: their median. */
  ratio: number
  lowest: number
  highest: number
}

/** One line of the table. */
export type Figure = Comparison & {
  work: string
  against: string
  /** Of `ours` and `other`, such as `codes/s`. */
  unit: string
  /** The ratio that we want, or what `ours` may be at most. A figure without one is only shown. */
  aim?: { atLeast: number } | { atMost: number } | { oursAtMost: number }
}

/**
 * Measures two ways in turns. What else the machine does changes from minute to minute, so each
 * ratio is that of two neighbouring rounds, and each way is the first one of a pair in turn. The
 * first pair warms up and does not count.
 */
export async function compareRounds(ours: Round, other: Round, rounds = 5): Promise<Comparison> {
  const pairs: { ours: number; other: number }[] = []
  for (let round = 0; round <= rounds; round += 1) {
    if (round % 2 === 0) pairs.push({ ours: await ours(), other: await other() })
    else {
      const last = await other()
      pairs.push({ ours: await ours(), other: last })
    }
  }
  const counted = pairs.slice(1)
  const ratios = counted.map((pair) => pair.ours / pair.other)
  return {
    ours: median(counted.map((pair) => pair.ours)),
    other: median(counted.map((pair) => pair.other)),
    ratio: median(ratios),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
  }
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('There is no median of nothing')
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}

/** Which machine measured, and what else it was doing. */
export function describeMachine(): string {
  const [first, ...more] = cpus()
  const load = loadavg()[0]?.toFixed(1)
  return `${more.length + 1} × ${first?.model.trim()}, Node ${process.version}, load ${load} at the start`
}

export function isMet({ aim, ours, ratio }: Figure): boolean {
  if (aim === undefined) return true
  if ('oursAtMost' in aim) return ours <= aim.oursAtMost
  return 'atLeast' in aim ? ratio >= aim.atLeast : ratio <= aim.atMost
}

/** Four digits are enough for everything that a bench measures. */
const short = (value: number) =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))

function textOf(aim: NonNullable<Figure['aim']>, unit: string): string {
  if ('oursAtMost' in aim) return `≤ ${aim.oursAtMost} ${unit}`
  return 'atLeast' in aim ? `≥ ${aim.atLeast}` : `≤ ${aim.atMost}`
}

const COLUMNS: Column<Figure>[] = [
  { head: 'work', cell: ({ work }) => work },
  { head: 'against', cell: ({ against }) => against },
  { head: 'ours', cell: ({ ours, unit }) => `${short(ours)} ${unit}`, align: 'right' },
  { head: 'other', cell: ({ other }) => short(other), align: 'right' },
  { head: 'ratio', cell: ({ ratio }) => ratio.toFixed(2), align: 'right' },
  {
    head: 'lowest–highest',
    cell: ({ lowest, highest }) => `${lowest.toFixed(2)}–${highest.toFixed(2)}`,
    align: 'right',
  },
  {
    head: 'aim',
    cell: (figure) => {
      const { aim } = figure
      if (aim === undefined) return ''
      const text = textOf(aim, figure.unit)
      return isMet(figure) ? text : `${text} missed`
    },
    align: 'right',
  },
]

export const renderFigures = (figures: readonly Figure[]): string =>
  renderTable(figures, COLUMNS, createPaint(false))
