import type { Command } from 'commander'
import { z } from 'zod'
import { withTenant } from '../../db/tenant-scope.ts'
import { beginPlan, finishPlan } from '../../stripe/billing/plans/create-plan.ts'
import { INTERVALS } from '../../stripe/billing/plans/plan.ts'
import { createPlanBody, toPlanBody } from '../../stripe/billing/plans/plan-schemas.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { planFields } from '../output/plan-text.ts'
import { renderFields } from '../output/table.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { UsageError } from '../usage-error.ts'
import { withSession } from '../with-session.ts'

const FLAGS = { interval_count: '--every', trial_period_days: '--trial-days' }

const input = createPlanBody.extend({ conference: z.string().min(1) })

/** `plans:create` */
export function addPlansCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'plans:create',
    summary: 'Create a plan here and at Stripe',
    details:
      'A product with a recurring price. When Stripe does not answer, the plan stays requested and a ' +
      'worker asks again: look with plans:list before you create another.',
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
    .requiredOption('--conference <slug|id>', 'whose')
    .requiredOption('--name <name>', 'its name for people')
    .requiredOption('--amount <number>', "minor units of the conference's currency", Number)
    .requiredOption('--interval <interval>', INTERVALS.join(', '))
    .option('--every <number>', 'intervals between two payments (1)', Number)
    .option('--trial-days <number>', 'days before the first payment (0)', Number)
    .option('--metadata <name=value...>', 'kept at Stripe with the product')

  command.action(async () => {
    const { conference, ...plan } = parseInput(input, fieldsOf(command), FLAGS)
    const made = await withSession(cli, async (session) => {
      const caller = await findConference(session.db, conference)
      const { interval_count, trial_period_days, ...rest } = plan
      const order = { ...rest, intervalCount: interval_count, trialPeriodDays: trial_period_days }
      const planId = await withTenant(session.db, caller, (trx) => beginPlan(trx, caller, order))
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
    metadata: metadata === undefined ? undefined : Object.fromEntries(metadata.map(entryOf)),
  }
}

function entryOf(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`--metadata wants name=value, not ${text}`)
  return [text.slice(0, at), text.slice(at + 1)]
}
