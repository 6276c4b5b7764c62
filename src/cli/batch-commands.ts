import type { Command } from 'commander'
import { z } from 'zod'
import { publishBody, toPublicationBody } from '../billing/discounts/publication-schemas.ts'
import { getPublication, publishBatch } from '../billing/discounts/publish-batch.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { createStaffBatch } from '../vouchers/issue-without-purchase.ts'
import { listBatches } from '../vouchers/voucher-batch-store.ts'
import { createBatchBody, toBatchBody } from '../vouchers/voucher-schemas.ts'
import { findConference, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  decimalNumber,
  parseInput,
  toFields,
  wholeNumber,
} from './command.ts'
import { type Column, momentText, renderFields, renderPage, renderTable } from './table.ts'
import type { Paint } from './terminal.ts'

type BatchBody = ReturnType<typeof toBatchBody>
type PublicationBody = ReturnType<typeof toPublicationBody>

/** `voucher-batches:create` */
export function addVoucherBatchesCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'voucher-batches:create',
    summary: 'Issue vouchers without a purchase',
    examples: [
      [
        'voucher-batches:create --conference devconf --count 20 --voucher-type comp --sponsor acme',
        'free tickets for a sponsor',
      ],
      [
        'voucher-batches:create --conference devconf --count 100 --voucher-type percentage --discount-value 15 --prefix CITY-',
        'a discount for everyone who gets a code',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--count <number>', 'the number of vouchers', wholeNumber)
    .requiredOption('--voucher-type <type>', 'comp, percentage or fixed_amount')
    .option('--discount-value <number>', 'percent, or minor units of the currency', decimalNumber)
    .option('--max-uses <number>', 'uses of each voucher (default: 1)', wholeNumber)
    .option('--valid-from <time>', 'redeemable from this time (RFC 3339)')
    .option('--valid-until <time>', 'redeemable until this time (RFC 3339)')
    .option('--prefix <text>', 'the codes begin with it')
    .option('--unlocks-hidden-tickets', 'for hidden ticket types too')
    .option('--sponsor <slug|id>', 'the sponsor that receives them')
    .option('--ticket-type <id>', 'only for this ticket type')
    .option('--add-on <id>', 'or only for this add-on')

  command.action(async () => {
    const { conference, ...fields } = toFields(command.opts())
    const input = parseInput(createBatchBody, fields)
    const body = await withSession(cli, async ({ db, clock }) => {
      const caller = await findConference(db, String(conference))
      const by = { keyId: caller.actor.id, now: clock.now() }
      return withTenant(db, caller, async (trx) =>
        toBatchBody(await createStaffBatch(trx, caller.conferenceId, input, by)),
      )
    })
    answer(cli, command, body, (paint) =>
      renderFields(
        [
          ['id', body.id],
          ['vouchers', body.count],
          ['prefix', body.prefix],
          ['sponsor', body.sponsor],
        ],
        paint,
      ),
    )
  })
}

const listInput = z.strictObject({ ...pageQuery, conference: z.string().min(1) })

/** `voucher-batches:list` */
export function addVoucherBatchesList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'voucher-batches:list',
    summary: "List a conference's voucher batches, newest first",
    examples: [['voucher-batches:list --conference devconf', 'of purchases and of staff']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) =>
        listBatches(trx, caller.conferenceId, { sponsorId: null }, query),
      )
    })
    const body = mapPage(page, toBatchBody)
    answer(cli, command, body, (paint) => renderPage(body, COLUMNS, paint))
  })
}

const COLUMNS: readonly Column<BatchBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'FROM', cell: ({ source }) => source },
  { head: 'VOUCHERS', cell: ({ count }) => count, align: 'right' },
  { head: 'PREFIX', cell: ({ prefix }) => prefix },
  { head: 'PURCHASE', cell: ({ purchase }) => purchase },
  { head: 'PUBLISHED (UTC)', cell: ({ published_at: at }) => momentText(at) },
]

type PublishOptions = { conference: string; product?: string[]; allProducts?: true }

/** `voucher-batches:publish` */
export function addVoucherBatchesPublish(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'voucher-batches:publish <batch>',
    summary: 'Publish a batch as Stripe promotion codes',
    details:
      'Published codes work in any Stripe checkout and can no longer be redeemed here. The worker of the ' +
      'service creates the promotion codes. Publishing again retries the codes that Stripe refused.',
    examples: [
      [
        'voucher-batches:publish vb_V1StGXR8Z5jdHi6BmyT7a --conference devconf --product prod_9',
        'for one product of Stripe',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--product <id...>', "Stripe's products that the codes apply to")
    .option('--all-products', 'the codes apply to all products')

  command.action(async (batch: string, options: PublishOptions) => {
    const { products } = parseInput(
      publishBody,
      { products: options.allProducts ? [] : options.product },
      { products: '--product' },
    )
    const body = await withSession(cli, async ({ db, clock }) => {
      const caller = await findConference(db, options.conference)
      return withTenant(db, caller, async (trx) => {
        await publishBatch(trx, caller, batch, { products }, clock.now())
        return toPublicationBody(await getPublication(trx, caller.conferenceId, batch))
      })
    })
    answer(cli, command, body, (paint) => renderPublication(body, paint))
  })
}

/** `voucher-batches:publication` */
export function addVoucherBatchesPublication(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'voucher-batches:publication <batch>',
    summary: 'Show the publication of a batch: its progress, and the codes that Stripe refused',
    examples: [
      [
        'voucher-batches:publication vb_V1StGXR8Z5jdHi6BmyT7a --conference devconf',
        'how many codes are at Stripe',
      ],
    ],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (batch: string, { conference }: { conference: string }) => {
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toPublicationBody(await getPublication(trx, caller.conferenceId, batch)),
      )
    })
    answer(cli, command, body, (paint) => renderPublication(body, paint))
  })
}

function renderPublication(body: PublicationBody, paint: Paint): string {
  const fields = renderFields(
    [
      ['state', body.state],
      ['coupon', body.coupon],
      ['published', `${body.published} of ${body.total}`],
      ['waiting', body.pending],
      ['inactive', body.off],
      ['refused', body.failed],
      ['uses at Stripe', body.times_redeemed],
      ['error', body.error],
    ],
    paint,
  )
  return body.errors.length === 0
    ? fields
    : `${fields}\n${renderTable(body.errors, REFUSED_COLUMNS, paint)}`
}

const REFUSED_COLUMNS: readonly Column<PublicationBody['errors'][number]>[] = [
  { head: 'CODE', cell: ({ code }) => code },
  { head: 'REASON', cell: ({ detail }) => detail },
]
