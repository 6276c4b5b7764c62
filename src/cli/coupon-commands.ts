import type { Command } from 'commander'
import { z } from 'zod'
import { type BillingDeps, mirrorContext } from '../billing/billing-deps.ts'
import { viewMirrorRow } from '../billing/discounts/discount-change.ts'
import { createCouponBody } from '../billing/discounts/discount-schemas.ts'
import { finishDiscountChange } from '../billing/discounts/finish-discount-change.ts'
import { beginCreateCoupon, beginDeleteCoupon } from '../billing/discounts/write-coupon.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { type MirrorBody, toMirrorBody } from '../mirror/mirror-schemas.ts'
import { listMirroredObjects } from '../mirror/mirror-store.ts'
import { resource, StripeCouponAction } from '../mirror/resources/coupon-resource.ts'
import { CURRENCIES, formatMoney, fromStripeAmount, toStripeAmount } from '../shared/money.ts'
import { systemClock } from '../shared/time.ts'
import { findConference, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  decimalNumber,
  metadataOf,
  parseInput,
  toFields,
  wholeNumber,
} from './command.ts'
import { performSync, toSyncRequest } from './perform-sync.ts'
import { type Column, momentText, renderFields, renderPage } from './table.ts'

const listInput = z.strictObject({
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
    details: 'Reads the local mirror; coupons:refresh updates it from Stripe.',
    examples: [
      ['coupons:list --conference devconf', 'all coupons'],
      ['coupons:list --conference devconf --valid --json', 'coupons that can be used, as JSON'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--valid', 'only coupons that can be used')
    .option('--no-valid', 'only coupons that cannot be used')
    .option('--include-deleted', 'also deleted coupons')

  addPageOptions(command).action(async () => {
    const query = parseInput(listInput, toFields(command.opts()))
    const { conference, valid, include_deleted: includeDeleted, ...page } = query
    const found = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      const filter = { equal: valid === undefined ? {} : { valid }, includeDeleted }
      return withTenant(db, caller, (trx) =>
        listMirroredObjects(trx, resource, caller.conferenceId, filter, page),
      )
    })
    const body = mapPage(found, (row) => toMirrorBody(resource, row))
    answer(cli, command, body, (paint) => renderPage(body, COUPON_COLUMNS, paint))
  })
}

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
      'If Stripe does not respond, a worker retries: run coupons:list before you create another one. With ' +
      '--id, a repeat cannot create a second coupon.',
    examples: [
      ['coupons:create --conference devconf --id SPRING-25 --percent-off 25', '25 % off, once'],
      [
        'coupons:create --conference devconf --amount-off 1000 --currency EUR --duration repeating --months 3',
        '10.00 EUR off each invoice for three months',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--id <id>', 'id of letters, digits, hyphens and underscores (default: random)')
    .option(
      '--percent-off <number>',
      'percent: above 0, at most 100, with at most two decimals',
      decimalNumber,
    )
    .option('--amount-off <number>', 'amount in minor units of the currency', wholeNumber)
    .option('--currency <code>', 'ISO 4217; required with --amount-off')
    .option('--duration <duration>', 'once, repeating or forever (default: once)')
    .option(
      '--months <number>',
      'number of months; required with --duration repeating',
      wholeNumber,
    )
    .option('--max-redemptions <number>', 'maximum number of uses', wholeNumber)
    .option('--redeem-by <time>', 'last time of use: RFC 3339, within five years')
    .option('--name <name>', 'the name that customers see')
    .option('--product <id...>', 'only for these Stripe products')
    .option('--metadata <name=value...>', 'stored with the coupon at Stripe')

  command.action(async () => {
    const { conference } = command.opts<Options>()
    const input = parseInput(createCouponBody, fieldsOf(command), FLAGS)
    const body = await withSession(cli, async (session) => {
      const caller = await findConference(session.db, conference)
      const changeId = await withTenant(session.db, caller, (trx) =>
        beginCreateCoupon(trx, caller, input, systemClock.now()),
      )
      const id = await finishDiscountChange(session, caller.conferenceId, changeId)
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
    ...(metadata === undefined ? {} : { metadata: metadataOf(metadata) }),
  }
}

/** `coupons:delete` */
export function addCouponsDelete(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'coupons:delete <coupon>',
    summary: 'Delete a coupon at Stripe',
    details:
      'Its promotion codes stop working too; customers who already used it keep the discount. The ' +
      'mirror keeps the coupon, marked as deleted. A repeat is a no-op.',
    examples: [
      ['coupons:delete SPRING-25 --conference devconf', 'the coupon can no longer be used'],
    ],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (coupon: string, options: { conference: string }) => {
    const body = await withSession(cli, async (session) => {
      const caller = await findConference(session.db, options.conference)
      const changeId = await withTenant(session.db, caller, (trx) =>
        beginDeleteCoupon(trx, caller, coupon),
      )
      await finishDiscountChange(session, caller.conferenceId, changeId)
      return viewCoupon(session, caller.conferenceId, coupon)
    })
    answer(cli, command, body, () => `Deleted ${coupon}.\n`)
  })
}

/** `coupons:refresh` */
export function addCouponsRefresh(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'coupons:refresh [coupon...]',
    summary: 'Re-read all or some coupons from Stripe',
    details:
      'Repairs what missed webhooks would have updated; the same as `sync coupons`. Coupons that were ' +
      'deleted at Stripe are marked as deleted; for more than 20 % of all, --force is required.',
    examples: [
      ['coupons:refresh', 'all coupons of the only conference with a Stripe key'],
      ['coupons:refresh SPRING-25 --conference devconf', 'one coupon'],
      ['coupons:refresh --dry-run', 'prints what would change'],
    ],
  })
    .option('--conference <slug|id>', 'the conference (default: the only one with a Stripe key)')
    .option('--dry-run', 'change nothing, print what would change')
    .option('--force', 'mark coupons as deleted even if they are more than 20 %')

  command.action(async (coupons: string[]) => {
    const ids = coupons.length === 0 ? {} : { ids: coupons.join(',') }
    await performSync(
      cli,
      command,
      toSyncRequest(['coupons'], { ...toFields(command.opts()), ...ids }),
    )
  })
}

/** The mirror row of a coupon, as the API shows it. */
function viewCoupon(deps: BillingDeps, conferenceId: string, id: string): Promise<MirrorBody> {
  return viewMirrorRow(new StripeCouponAction(mirrorContext(deps, conferenceId)), id)
}

const stringOrNull = (value: unknown) => (typeof value === 'string' ? value : null)
const numberOrNull = (value: unknown) => (typeof value === 'number' ? value : null)

/** `25 %` or `10.00 EUR`; null if only the deletion of the coupon is known. */
function discountText(coupon: MirrorBody): string | null {
  const percent = numberOrNull(coupon['percent_off'])
  if (percent !== null) return `${percent} %`
  const amount = numberOrNull(coupon['amount_off'])
  const currency = stringOrNull(coupon['currency'])?.toUpperCase()
  if (amount === null || currency === undefined) return null
  // Coupons made in Stripe's dashboard can have currencies or amounts that this service does not allow.
  const isKnown = CURRENCIES.includes(currency) && amount % toStripeAmount(1, currency) === 0
  return isKnown
    ? formatMoney(fromStripeAmount(amount, currency), currency)
    : `${amount} ${currency} (in Stripe's units)`
}

function durationText(coupon: MirrorBody): string | null {
  const months = numberOrNull(coupon['duration_in_months'])
  return months === null ? stringOrNull(coupon['duration']) : `${months} months`
}

function usesText(coupon: MirrorBody): string | null {
  const used = numberOrNull(coupon['times_redeemed'])
  if (used === null) return null
  const most = numberOrNull(coupon['max_redemptions'])
  return most === null ? String(used) : `${used}/${most}`
}

function stateText(coupon: MirrorBody): string {
  if (coupon.deleted_at !== null) return 'deleted'
  return coupon['valid'] === true ? 'valid' : 'not valid'
}

const endText = (coupon: MirrorBody) => momentText(stringOrNull(coupon['redeem_by']))

const COUPON_COLUMNS: readonly Column<MirrorBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'NAME', cell: (coupon) => stringOrNull(coupon['name']) },
  { head: 'OFF', cell: discountText, align: 'right' },
  { head: 'DURATION', cell: durationText },
  { head: 'USED', cell: usesText, align: 'right' },
  { head: 'UNTIL (UTC)', cell: endText },
  {
    head: 'STATE',
    cell: stateText,
    paint: (coupon, paint) => (stateText(coupon) === 'valid' ? paint.green : paint.dim),
  },
]

function couponFields(coupon: MirrorBody): (readonly [string, string | number | null])[] {
  return [
    ['coupon', coupon.id],
    ['name', stringOrNull(coupon['name'])],
    ['off', discountText(coupon)],
    ['duration', durationText(coupon)],
    ['used', usesText(coupon)],
    ['until', endText(coupon)],
    ['state', stateText(coupon)],
  ]
}
