import type { DriftLine } from '../../stripe/drift/drift-line.ts'
import type { ConferenceDrift } from '../drift-of.ts'
import type { Paint } from './paint.ts'
import { type Column, renderTable } from './table.ts'

const DRIFT_COLUMNS: readonly Column<DriftLine>[] = [
  {
    head: 'KIND',
    cell: ({ kind }) => kind,
    paint: ({ kind }, paint) => (kind === 'missing' ? paint.yellow : paint.red),
  },
  { head: 'WHAT', cell: whatOf },
  { head: 'PURCHASE', cell: ({ purchase }) => purchase },
  { head: 'STRIPE ID', cell: ({ stripe_id }) => stripe_id },
  { head: 'FIELD', cell: ({ field }) => field },
  { head: 'HERE', cell: ({ here }) => here },
  { head: 'THERE', cell: ({ there }) => there },
  {
    head: 'REPAIR',
    cell: ({ repair }) => repair?.command ?? 'look at it in Stripe’s dashboard',
    paint: (_line, paint) => paint.dim,
  },
]

function whatOf({ what, source }: DriftLine): string {
  const name = what.replaceAll('_', ' ')
  return source === 'mirror' ? `${name} in the mirror` : name
}

/** Each conference with its lines and its sums; what cannot be compared is told first. */
export function renderDrift(found: readonly ConferenceDrift[], paint: Paint): string {
  if (found.length === 0) return 'There is nothing to compare.\n'
  return found.map((one) => renderOne(one, paint)).join('\n')
}

function renderOne(drift: ConferenceDrift, paint: Paint): string {
  const { conference, lines } = drift
  return [
    `${paint.bold(conference)}\n`,
    ...unsyncedText(drift, paint),
    ...(lines.length === 0 ? [] : [renderTable(lines, DRIFT_COLUMNS, paint)]),
    `${sumText(drift, paint)}\n`,
  ].join('')
}

function unsyncedText({ mirror }: ConferenceDrift, paint: Paint): string[] {
  const unsynced = Object.entries(mirror ?? {}).filter(([, state]) => state.synced_at === null)
  if (unsynced.length === 0) return []
  const names = unsynced.map(([name]) => name.replaceAll('_', ' ')).join(', ')
  const commands = unsynced.map(([, { repair }]) => `  ${repair?.command ?? ''}\n`)
  return [
    paint.yellow(`Never synced in full, so this cannot be compared well: ${names}. First run\n`),
    ...commands,
  ]
}

function sumText(
  { summary, lines, hasMore, purchasesRead }: ConferenceDrift,
  paint: Paint,
): string {
  const { missing, extra, different } = summary
  const purchases = purchasesRead === 1 ? 'purchase' : 'purchases'
  const read = purchasesRead === null ? '' : ` ${purchasesRead} ${purchases} read from Stripe.`
  if (missing + extra + different === 0) return `${paint.green('Nothing differs.')}${read}`
  const shown = hasMore ? ` The first ${lines.length} are shown.` : ''
  return `${missing} missing, ${extra} extra, ${different} different.${shown}${read}`
}
