import type { Command } from 'commander'
import { z } from 'zod'
import {
  createPlanBody,
  listPlansQuery,
  type planSchema,
  toPlanBody,
  toPlanInput,
} from '../billing/subscriptions/plan-schemas.ts'
import { INTERVALS, listPlans } from '../billing/subscriptions/plan-store.ts'
import { beginPlan, finishPlan } from '../billing/subscriptions/write-plan.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { formatMoney } from '../shared/money.ts'
import { findConference, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  metadataOf,
  parseInput,
  toFields,
  wholeNumber,
} from './command.ts'
import { type Column, momentText, renderFields, renderPage } from './table.ts'

const FLAGS = { interval_count: '--every', trial_period_days: '--trial-days' }

const createInput = createPlanBody.extend({ conference: z.string().min(1) })

/** `plans:create` */
export function addPlansCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'plans:create',
    summary: 'Create a plan here and at Stripe',
    details:
      'Creates a product with a recurring price. If Stripe does not respond, the plan stays `requested` ' +
      'and a worker retries: run plans:list before you create another one.',
    examples: [
      [
        'plans:create --conference devconf --name "Community booth" --amount 25000 --interval month',
        '250.00 a month',
      ],
      [
        'plans:create --conference devconf --name Patron --amount 50000 --interval month --every 3 --trial-days 30 --metadata tier=gold',
        '500.00 a quarter, the first after 30 days',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--name <name>', 'the name that people see')
    .requiredOption('--amount <number>', "minor units of the conference's currency", wholeNumber)
    .requiredOption('--interval <interval>', `one of: ${INTERVALS.join(', ')}`)
    .option(
      '--every <number>',
      'number of intervals between two payments (default: 1)',
      wholeNumber,
    )
    .option('--trial-days <number>', 'days before the first payment (default: 0)', wholeNumber)
    .option(
      '--statement-descriptor <text>',
      "on subscribers' bank statements: at most 22 characters",
    )
    .option('--metadata <name=value...>', 'stored with the product at Stripe')

  command.action(async () => {
    const { conference, ...plan } = parseInput(createInput, fieldsOf(command), FLAGS)
    const made = await withSession(cli, async (session) => {
      const caller = await findConference(session.db, conference)
      const planId = await withTenant(session.db, caller, (trx) =>
        beginPlan(trx, caller, toPlanInput(plan)),
      )
      return finishPlan(session, { conferenceId: caller.conferenceId, planId })
    })
    const body = toPlanBody(made)
    answer(cli, command, body, (paint) => renderFields(planFields(body), paint))
  })
}

// What commander puts into opts() for the options above.
type Options = { every?: number; trialDays?: number; metadata?: string[] }

function fieldsOf(command: Command): Record<string, unknown> {
  const { every, trialDays, metadata, ...rest } = command.opts<Options>()
  return {
    ...toFields(rest),
    interval_count: every,
    trial_period_days: trialDays,
    metadata: metadata === undefined ? undefined : metadataOf(metadata),
  }
}

const listInput = listPlansQuery.extend({ conference: z.string().min(1) })

/** `plans:list` */
export function addPlansList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'plans:list',
    summary: "List a conference's plans, newest first",
    examples: [
      ['plans:list --conference devconf', 'all plans'],
      ['plans:list --conference devconf --active --json', 'plans for new subscriptions, as JSON'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--active', 'only plans for new subscriptions')
    .option('--no-active', 'only other plans: archived, refused, not yet at Stripe')

  addPageOptions(command).action(async () => {
    const { active: isActive, ...options } = toFields(command.opts())
    // The API reads it from a query.
    const wanted = isActive === undefined ? {} : { active: isActive === true ? 'true' : 'false' }
    const { conference, active, ...query } = parseInput(listInput, { ...options, ...wanted })
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => listPlans(trx, caller.conferenceId, { active }, query))
    })
    const body = mapPage(page, toPlanBody)
    answer(cli, command, body, (paint) => renderPage(body, PLAN_COLUMNS, paint))
  })
}

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

const PLAN_COLUMNS: readonly Column<PlanBody>[] = [
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

function planFields(plan: PlanBody): (readonly [string, string | number | null])[] {
  return [
    ['plan', plan.id],
    ['name', plan.name],
    ['price', termsText(plan)],
    ['trial days', plan.trial_period_days],
    ['state', planState(plan)],
    ['stripe price', plan.stripe_price],
  ]
}
