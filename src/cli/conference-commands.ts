import type { Command } from 'commander'
import { z } from 'zod'
import {
  type conferenceSchema,
  createConferenceBody,
  toConferenceBody,
  updateConferenceBody,
} from '../conferences/conference-schemas.ts'
import { listConferences, toConference } from '../conferences/conference-store.ts'
import {
  changeConference,
  createConference,
  findKeyAccount,
} from '../conferences/manage-conference.ts'
import { findSharingConferences } from '../conferences/shared-accounts.ts'
import { mapPage } from '../db/pages.ts'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { findPaymentObject } from '../payments/payment-store.ts'
import { CLI_ACTOR, findConference, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  parseInput,
  takeSecret,
  toFields,
  wholeNumber,
} from './command.ts'
import { type Column, momentText, renderFields, renderPage } from './table.ts'

const FLAGS = {
  stripe_secret_key: '--stripe-key',
  stripe_webhook_secret: '--webhook-secret',
  allowed_origins: '--allowed-origin',
}

/** The settings that `conferences:create` and `conferences:update` have in common. */
function addSettingOptions(command: Command): Command {
  return command
    .option('--max-quantity <number>', 'maximum quantity of a purchase (default: 500)', wholeNumber)
    .option(
      '--code-length <number>',
      'number of random symbols of a code (default: 12)',
      wholeNumber,
    )
    .option('--allowed-origin <origin...>', 'origin that a checkout may return to (default: any)')
    .option(
      '--checkout-expires-after-minutes <number>',
      'minutes until a payment page expires (default: 1440)',
      wholeNumber,
    )
    .option('--invoice-creation', 'Stripe makes an invoice for each payment')
    .option('--tax-id-collection', 'the payment page asks companies for their tax id')
    .option('--bank-details <text>', 'how to pay by bank transfer; sponsors read it')
}

/** `conferences:create` */
export function addConferencesCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'conferences:create',
    summary: 'Create a conference',
    details:
      'To keep secrets out of the shell history, set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET. Or ' +
      'pass - and write them to standard input, one per line, the Stripe key first.',
    examples: [
      [
        'conferences:create --slug devconf --name "DevConf 2027" --currency EUR',
        'without a Stripe key; conferences:update can set it later',
      ],
      [
        'conferences:create --slug devconf --name "DevConf 2027" --currency EUR --stripe-key - < key.txt',
        'with the Stripe key from a file',
      ],
    ],
  })
    .requiredOption('--slug <slug>', 'the name in paths: lower-case letters, digits, hyphens')
    .requiredOption('--name <name>', 'the name that people see')
    .requiredOption('--currency <code>', 'ISO 4217; cannot be changed later')
    .addOption(
      program
        .createOption('--stripe-key <key|->', 'secret or restricted key of its Stripe account')
        .env('STRIPE_SECRET_KEY'),
    )
    .addOption(
      program
        .createOption('--webhook-secret <secret|->', 'signing secret of its webhook endpoint')
        .env('STRIPE_WEBHOOK_SECRET'),
    )
  addSettingOptions(command).action(async () => {
    const input = parseInput(createConferenceBody, await fieldsOf(cli, command), FLAGS)
    const body = await withSession(cli, async ({ db, encryption, stripeAccounts }) => {
      const conference = await withSystem(
        db,
        'manage-conferences',
        (trx) => createConference(trx, { encryption, stripeAccounts }, input),
        CLI_ACTOR,
      )
      const sharing = await findSharingConferences(db, [conference.id])
      return toConferenceBody(conference, sharing.has(conference.id), stripeAccounts)
    })
    answer(cli, command, body, (paint) => renderFields(conferenceFields(body), paint))
  })
}

/** `conferences:update` */
export function addConferencesUpdate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'conferences:update <conference>',
    summary: 'Change settings of a conference',
    details:
      'Settings without an option stay as they are. To keep the Stripe key out of the shell history, pass - and ' +
      'write it to standard input. Once purchases exist, a new key must be of the same mode and Stripe account.',
    examples: [
      ['conferences:update devconf --stripe-key - < key.txt', 'a new Stripe key'],
      [
        'conferences:update devconf --bank-details "$(cat bank.txt)"',
        'sponsors may pay by bank transfer; --no-bank-details ends it',
      ],
      ['conferences:update devconf --any-origin', 'a checkout may return to any https address'],
    ],
  })
    .option('--name <name>', 'the name that people see')
    // Not from the environment: a change of the name must not change the key.
    .option('--stripe-key <key|->', 'secret or restricted key of its Stripe account')
  addSettingOptions(command)
    .option('--any-origin', 'a checkout may return to any https address')
    .option('--no-invoice-creation', 'no invoices')
    .option('--no-tax-id-collection', 'the payment page does not ask for a tax id')
    .option('--no-bank-details', 'sponsors cannot pay by bank transfer')
    .action(async (reference: string) => {
      const fields = await fieldsOf(cli, command)
      const changes = parseInput(updateConferenceBody, fields, FLAGS)
      const body = await withSession(cli, async ({ db, encryption, stripeAccounts, purchases }) => {
        const { hasPurchases } = purchases
        const deps = { encryption, stripeAccounts, hasPurchases, findPaymentObject }
        const caller = await findConference(db, reference)
        const { conferenceId } = caller
        const account = await findKeyAccount(db, deps, conferenceId, changes.stripe_secret_key)
        const conference = await withTenant(db, caller, (trx) =>
          changeConference(trx, deps, caller, changes, account),
        )
        const sharing = await findSharingConferences(db, [conferenceId])
        return toConferenceBody(conference, sharing.has(conferenceId), stripeAccounts)
      })
      answer(cli, command, body, (paint) => renderFields(conferenceFields(body), paint))
    })
}

async function fieldsOf(cli: Cli, command: Command): Promise<Record<string, unknown>> {
  const { stripe_key, webhook_secret, allowed_origin, any_origin, bank_details, ...rest } =
    toFields(command.opts())
  const key = await takeSecret(cli.terminal, '--stripe-key', stripe_key)
  const secret = await takeSecret(cli.terminal, '--webhook-secret', webhook_secret)
  const origins = any_origin === true ? [] : allowed_origin
  return {
    ...rest,
    ...(key === undefined ? {} : { stripe_secret_key: key }),
    ...(secret === undefined ? {} : { stripe_webhook_secret: secret }),
    ...(origins === undefined ? {} : { allowed_origins: origins }),
    // `--no-bank-details` is false.
    ...(bank_details === undefined
      ? {}
      : { bank_details: bank_details === false ? null : bank_details }),
  }
}

/** `conferences:list` */
export function addConferencesList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'conferences:list',
    summary: 'List conferences',
    examples: [
      ['conferences:list', 'newest first'],
      ["conferences:list --json | jq -r '.data[].slug'", 'only the slugs'],
    ],
  })
  addPageOptions(command).action(async () => {
    const query = parseInput(z.strictObject(pageQuery), toFields(command.opts()))
    const body = await withSession(cli, async ({ db, stripeAccounts }) => {
      const page = await withSystem(db, 'manage-conferences', (trx) => listConferences(trx, query))
      const ids = page.data.map(({ id }) => id)
      const sharing = await findSharingConferences(db, ids)
      return mapPage(page, (row) =>
        toConferenceBody(toConference(row), sharing.has(row.id), stripeAccounts),
      )
    })
    answer(cli, command, body, (paint) => renderPage(body, CONFERENCE_COLUMNS, paint))
  })
}

type ConferenceBody = z.infer<typeof conferenceSchema>

const modeOf = ({ livemode }: ConferenceBody) =>
  livemode === null ? null : livemode ? 'live' : 'test'

const CONFERENCE_COLUMNS: readonly Column<ConferenceBody>[] = [
  { head: 'SLUG', cell: ({ slug }) => slug, paint: (_row, paint) => paint.bold },
  { head: 'NAME', cell: ({ name }) => name },
  { head: 'CURRENCY', cell: ({ currency }) => currency },
  { head: 'MODE', cell: modeOf },
  { head: 'STRIPE ACCOUNT', cell: ({ stripe_account }) => stripe_account },
  { head: 'CREATED (UTC)', cell: ({ created_at }) => momentText(created_at) },
  { head: 'ID', cell: ({ id }) => id },
]

/** A conference, one field per line; toConferenceBody has masked the secrets. */
function conferenceFields(body: ConferenceBody) {
  return [
    ['id', body.id],
    ['slug', body.slug],
    ['name', body.name],
    ['currency', body.currency],
    ['mode', modeOf(body)],
    ['Stripe key', body.stripe_secret_key],
    ['max quantity', body.max_quantity],
    ['code length', body.code_length],
    ['checkout returns to', body.allowed_origins.join(', ') || 'any https address'],
    ['checkout expires', `after ${body.checkout_expires_after_minutes} minutes`],
    ['invoices', body.invoice_creation ? 'yes' : 'no'],
    ['tax ids', body.tax_id_collection ? 'yes' : 'no'],
    ['bank transfer', body.bank_details],
    ['webhook path', `/webhooks/stripe/${body.slug}`],
    ['created (UTC)', momentText(body.created_at)],
  ] as const
}
