import type { Command } from 'commander'
import { z } from 'zod'
import { createWebhookSecretBody, toWebhookSecretBody } from '../conferences/conference-schemas.ts'
import {
  addWebhookSecret,
  deleteWebhookSecret,
  listWebhookSecrets,
} from '../conferences/stripe-credentials.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { findConference, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  parseInput,
  takeSecret,
  toFields,
} from './command.ts'
import { type Column, momentText, renderPage } from './table.ts'

type SecretBody = ReturnType<typeof toWebhookSecretBody>

/** `webhook-secrets:add` */
export function addWebhookSecretsAdd(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-secrets:add',
    summary: "Add a signing secret of Stripe's webhook",
    details:
      'Several secrets are valid at the same time. To replace one: roll it in the dashboard of Stripe with an ' +
      'overlap, add the new one here, and delete the old one here after the overlap.',
    examples: [
      [
        'webhook-secrets:add --conference devconf --secret - < secret.txt',
        'from a file, so that it stays out of the shell history',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--secret <secret|->', 'whsec_…; - reads it from standard input')

  command.action(async () => {
    const { conference, secret: given } = toFields(command.opts())
    const secret = await takeSecret(cli.terminal, '--secret', given)
    const input = parseInput(createWebhookSecretBody, { secret })
    const body = await withSession(cli, async ({ db, encryption }) => {
      const caller = await findConference(db, String(conference))
      return withTenant(db, caller, async (trx) =>
        toWebhookSecretBody(
          await addWebhookSecret(trx, encryption, caller.conferenceId, input.secret),
        ),
      )
    })
    answer(cli, command, body, () => `Added ${body.secret} (${body.id}).\n`)
  })
}

const listInput = z.strictObject({ ...pageQuery, conference: z.string().min(1) })

/** `webhook-secrets:list` */
export function addWebhookSecretsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-secrets:list',
    summary: "List the signing secrets of Stripe's webhook, masked",
    examples: [['webhook-secrets:list --conference devconf', 'newest first']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => listWebhookSecrets(trx, caller.conferenceId, query))
    })
    const body = mapPage(page, toWebhookSecretBody)
    answer(cli, command, body, (paint) => renderPage(body, COLUMNS, paint))
  })
}

const COLUMNS: readonly Column<SecretBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'SECRET', cell: ({ secret }) => secret },
  { head: 'ADDED (UTC)', cell: ({ created_at: at }) => momentText(at) },
]

/** `webhook-secrets:delete` */
export function addWebhookSecretsDelete(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-secrets:delete <secret>',
    summary: "Delete a signing secret of Stripe's webhook",
    details: 'Events that are signed only with this secret are refused from now on.',
    examples: [
      ['webhook-secrets:delete whs_V1StGXR8Z5jdHi6BmyT7a --conference devconf', 'by its id'],
    ],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (id: string, { conference }: { conference: string }) => {
    await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => deleteWebhookSecret(trx, caller.conferenceId, id))
    })
    answer(cli, command, { id, deleted: true }, () => `Deleted ${id}.\n`)
  })
}
