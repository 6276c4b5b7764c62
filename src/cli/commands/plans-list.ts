import type { Command } from 'commander'
import { z } from 'zod'
import { withTenant } from '../../db/tenant-scope.ts'
import { mapPage } from '../../http/pages.ts'
import { listPlansQuery, toPlanBody } from '../../stripe/billing/plans/plan-schemas.ts'
import { listPlans } from '../../stripe/billing/plans/plan-store.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { renderPage } from '../output/page-text.ts'
import { PLAN_COLUMNS } from '../output/plan-text.ts'
import { addPageOptions } from '../page-options.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { withSession } from '../with-session.ts'

const input = listPlansQuery.extend({ conference: z.string().min(1) })

/** `plans:list` */
export function addPlansList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'plans:list',
    summary: "List a conference's plans, newest first",
    examples: [
      ['plans:list --conference devconf', 'all of them'],
      ['plans:list --conference devconf --active --json', 'what new subscriptions may have'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'whose')
    .option('--active', 'only those that new subscriptions may have')
    .option('--no-active', 'only the others: archived, refused, not yet at Stripe')

  addPageOptions(command).action(async () => {
    const { conference, active, ...query } = parseInput(input, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => listPlans(trx, caller.conferenceId, { active }, query))
    })
    const body = mapPage(page, toPlanBody)
    answer(cli, command, body, (paint) => renderPage(body, PLAN_COLUMNS, paint))
  })
}
