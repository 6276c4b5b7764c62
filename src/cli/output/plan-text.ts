import type { z } from 'zod'
import { formatMoney } from '../../shared/money.ts'
import type { planSchema } from '../../stripe/billing/plans/plan-schemas.ts'
import { momentText } from './moment-text.ts'
import type { Column } from './table.ts'

type PlanBody = z.output<typeof planSchema>

/** `25.00 EUR every 2 weeks` */
function termsText({ amount, currency, interval, interval_count: count }: PlanBody): string {
  const every = count === 1 ? interval : `${count} ${interval}s`
  return `${formatMoney(amount, currency)} every ${every}`
}

function planState({ state, active }: PlanBody): string {
  if (state !== 'created') return state
  return active ? 'active' : 'archived'
}

export const PLAN_COLUMNS: readonly Column<PlanBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'NAME', cell: ({ name }) => name, paint: (_plan, paint) => paint.bold },
  { head: 'PRICE', cell: termsText },
  { head: 'TRIAL DAYS', cell: ({ trial_period_days: days }) => days, align: 'right' },
  {
    head: 'STATE',
    cell: planState,
    paint: (plan, paint) => (planState(plan) === 'active' ? paint.green : paint.dim),
  },
  { head: 'STRIPE PRICE', cell: ({ stripe_price: price }) => price },
  { head: 'CREATED (UTC)', cell: ({ created_at: at }) => momentText(at) },
]

export function planFields(plan: PlanBody): (readonly [string, string | number | null])[] {
  return [
    ['plan', plan.id],
    ['name', plan.name],
    ['price', termsText(plan)],
    ['trial days', plan.trial_period_days],
    ['state', planState(plan)],
    ['stripe price', plan.stripe_price],
  ]
}
