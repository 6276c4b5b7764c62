import type { Command } from 'commander'
import { z } from 'zod'
import { withTenant } from '../../db/tenant-scope.ts'
import { mapPage, pageQuery } from '../../http/pages.ts'
import { toMirrorBody } from '../../stripe/sync/mirror-body.ts'
import { listMirror } from '../../stripe/sync/mirror-store.ts'
import { resource } from '../../stripe/sync/resources/coupons.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { COUPON_COLUMNS } from '../output/coupon-text.ts'
import { renderPage } from '../output/page-text.ts'
import { addPageOptions } from '../page-options.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { withSession } from '../with-session.ts'

const input = z.strictObject({
  conference: z.string().min(1),
  valid: z.boolean().optional(),
  include_deleted: z.boolean().default(false),
  ...pageQuery,
})

/** `coupons:list` */
export function addCouponsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'coupons:list',
    summary: "List a conference's coupons, newest at Stripe first",
    details: 'As the mirror has them; coupons:refresh reads them anew.',
    examples: [
      ['coupons:list --conference devconf', 'all of them'],
      ['coupons:list --conference devconf --valid --json', 'what can be used, for a script'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'whose')
    .option('--valid', 'only those that can be used')
    .option('--no-valid', 'only those that cannot')
    .option('--include-deleted', 'deleted ones as well')

  addPageOptions(command).action(async () => {
    const query = parseInput(input, toFields(command.opts()))
    const { conference, valid, include_deleted: includeDeleted, ...page } = query
    const found = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      const filter = { equal: valid === undefined ? {} : { valid }, includeDeleted }
      return withTenant(db, caller, (trx) =>
        listMirror(trx, resource, caller.conferenceId, filter, page),
      )
    })
    const body = mapPage(found, (row) => toMirrorBody(resource, row))
    answer(cli, command, body, (paint) => renderPage(body, COUPON_COLUMNS, paint))
  })
}
