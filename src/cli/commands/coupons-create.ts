import type { Command } from 'commander'
import { withTenant } from '../../db/tenant-scope.ts'
import { systemClock } from '../../shared/clock.ts'
import { createCouponBody } from '../../stripe/billing/coupons/coupon-schemas.ts'
import {
  beginCreateCoupon,
  finishCreateCoupon,
} from '../../stripe/billing/coupons/create-coupon.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { findConference } from '../find-conference.ts'
import { couponFields } from '../output/coupon-text.ts'
import { renderFields } from '../output/table.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { UsageError } from '../usage-error.ts'
import { viewCoupon } from '../view-coupon.ts'
import { withSession } from '../with-session.ts'

const FLAGS = { duration_in_months: '--months', applies_to: '--product' }

// What commander puts into opts() for the options below.
type Options = {
  conference: string
  json?: boolean
  months?: number
  product?: string[]
  metadata?: string[]
}

/** `coupons:create` */
export function addCouponsCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'coupons:create',
    summary: 'Create a coupon here and at Stripe',
    details:
      'When Stripe does not answer, look with coupons:refresh before you create another; with --id a ' +
      'second one cannot be made.',
    examples: [
      [
        'coupons:create --conference devconf --id SPRING-25 --percent-off 25',
        'a quarter off, once',
      ],
      [
        'coupons:create --conference devconf --amount-off 1000 --currency EUR --duration repeating --months 3',
        '10.00 EUR off each invoice of three months',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'whose')
    .option('--id <id>', 'letters, digits, hyphens and underscores; random when absent')
    .option('--percent-off <number>', 'above 0, at most 100, with at most two decimals', Number)
    .option('--amount-off <number>', 'minor units of the currency', Number)
    .option('--currency <code>', 'ISO 4217, with --amount-off')
    .option('--duration <duration>', 'once, repeating or forever (once)')
    .option('--months <number>', 'with the duration repeating', Number)
    .option('--max-redemptions <number>', 'how often it may be used in all', Number)
    .option('--redeem-by <time>', 'RFC 3339, within five years')
    .option('--name <name>', 'what customers see')
    .option('--product <id...>', "only for these of Stripe's products")
    .option('--metadata <name=value...>', 'kept at Stripe with the coupon')

  command.action(async () => {
    const { conference } = command.opts<Options>()
    const input = parseInput(createCouponBody, fieldsOf(command), FLAGS)
    const body = await withSession(cli, async (session) => {
      const caller = await findConference(session.db, conference)
      const changeId = await withTenant(session.db, caller, (trx) =>
        beginCreateCoupon(trx, caller, input, systemClock.now()),
      )
      const id = await finishCreateCoupon(session, caller.conferenceId, changeId)
      return viewCoupon(session, caller.conferenceId, id)
    })
    answer(cli, command, body, (paint) => renderFields(couponFields(body), paint))
  })
}

function fieldsOf(command: Command): Record<string, unknown> {
  const { conference: _whose, months, product, metadata, ...rest } = command.opts<Options>()
  return {
    ...toFields(rest),
    ...(months === undefined ? {} : { duration_in_months: months }),
    ...(product === undefined ? {} : { applies_to: { products: product } }),
    ...(metadata === undefined ? {} : { metadata: Object.fromEntries(metadata.map(entryOf)) }),
  }
}

function entryOf(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`--metadata wants name=value, not ${text}`)
  return [text.slice(0, at), text.slice(at + 1)]
}
