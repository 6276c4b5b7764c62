import type { Command } from 'commander'
import { withTenant } from '../../db/tenant-scope.ts'
import {
  beginDeleteCoupon,
  finishDeleteCoupon,
} from '../../stripe/billing/coupons/delete-coupon.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { viewCoupon } from '../view-coupon.ts'
import { withSession } from '../with-session.ts'

/** `coupons:delete` */
export function addCouponsDelete(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'coupons:delete <coupon>',
    summary: 'Delete a coupon at Stripe',
    details:
      'Its promotion codes end with it; who used it before keeps the discount. Here a tombstone ' +
      'stays. Deleting it again changes nothing.',
    examples: [['coupons:delete SPRING-25 --conference devconf', 'nobody can use it any more']],
  }).requiredOption('--conference <slug|id>', 'whose')

  command.action(async (coupon: string, options: { conference: string }) => {
    const body = await withSession(cli, async (session) => {
      const caller = await findConference(session.db, options.conference)
      const changeId = await withTenant(session.db, caller, (trx) =>
        beginDeleteCoupon(trx, caller, coupon),
      )
      await finishDeleteCoupon(session, caller.conferenceId, changeId)
      return viewCoupon(session, caller.conferenceId, coupon)
    })
    answer(cli, command, body, () => `Deleted ${coupon}.\n`)
  })
}
