import type { Command } from 'commander'
import { z } from 'zod'
import {
  type apiKeySchema,
  createConferenceKeyBody,
  createOperatorKeyBody,
  toApiKeyBody,
  toIssuedKeyBody,
} from '../access/api-key-schemas.ts'
import { type IssuedKey, listKeys, revokeKey, toApiKey } from '../access/api-key-store.ts'
import { createConferenceKey, createOperatorKey } from '../access/issue-api-key.ts'
import { mapPage } from '../db/pages.ts'
import { withOwner, withSystem, withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { SCOPES } from '../shared/caller.ts'
import { systemClock } from '../shared/time.ts'
import { UsageError } from './cli-errors.ts'
import {
  CLI_ACTOR,
  CLI_PRINCIPAL,
  findConference,
  inPlatformOrOwner,
  ownerOf,
  type Session,
  withSession,
} from './cli-session.ts'
import { addCommand, addPageOptions, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, momentText, renderPage } from './table.ts'

const FLAGS = { expires_at: '--expires' }

const conferenceKey = createConferenceKeyBody.extend({ conference: z.string().min(1) })

/** `keys:create` */
export function addKeysCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'keys:create',
    summary: 'Create an API key and show it once',
    details: `Scopes of staff keys: ${SCOPES.join(', ')}.`,
    examples: [
      [
        'keys:create --role staff --conference devconf --name "Front desk" --scopes vouchers:read,vouchers:redeem',
        'a staff key of one conference',
      ],
      [
        'keys:create --role sponsor --conference devconf --sponsor acme --name "Acme shop" --expires 2027-12-31',
        'a key of one sponsor, valid until that day begins (UTC)',
      ],
      ['keys:create --role operator --name "Deployment"', 'a key for the whole platform'],
    ],
  })
    .addOption(
      program
        .createOption('--role <role>', 'the role of the key')
        .choices(['operator', 'staff', 'sponsor'])
        .makeOptionMandatory(),
    )
    .requiredOption('--name <name>', 'the name of the key, for people')
    .option('--conference <slug|id>', 'the conference; required for staff and sponsor keys')
    .option(
      '--sponsor <slug|id>',
      'the sponsor (id, slug or external id); required for sponsor keys',
    )
    .option('--scopes <list>', 'for staff keys: scopes, separated by commas')
    .option('--expires <time>', 'expiry: RFC 3339, or a day such as 2027-12-31 (default: never)')

  command.action(async () => {
    const fields = fieldsOf(command)
    if (fields['role'] === 'staff' && fields['scopes'] === undefined) {
      throw new UsageError(`--scopes is required for a staff key. Scopes: ${SCOPES.join(', ')}`)
    }
    const issue = fields['role'] === 'operator' ? forOperator(fields) : forTenant(fields)
    const issued = await withSession(cli, issue)
    const body = toIssuedKeyBody(issued)
    answer(cli, command, body, (paint) =>
      [
        `Created the ${body.role} key ${body.id}.\n\n`,
        `  ${paint.bold(issued.text)}\n\n`,
        `${paint.dim('The key is not shown again; the database has only its hash.')}\n`,
      ].join(''),
    )
  })
}

// What commander puts into opts() for the options above.
type Options = { role: string; scopes?: string; expires?: string }

function fieldsOf(command: Command): Record<string, unknown> {
  const { scopes, expires, ...rest } = command.opts<Options>()
  return {
    ...toFields(rest),
    ...(scopes === undefined ? {} : { scopes: scopes.split(/[\s,]+/).filter(Boolean) }),
    ...(expires === undefined ? {} : { expires_at: momentOf(expires) }),
  }
}

const momentOf = (text: string) => (/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text)

// The options are checked before a database is opened.
type Issue = (session: Session) => Promise<IssuedKey>

function forOperator(fields: Record<string, unknown>): Issue {
  const request = parseInput(createOperatorKeyBody, fields, FLAGS)
  return ({ db }) =>
    withSystem(
      db,
      'manage-conferences',
      (trx) => createOperatorKey(trx, CLI_PRINCIPAL, request),
      CLI_ACTOR,
    )
}

function forTenant(fields: Record<string, unknown>): Issue {
  const { conference, ...request } = parseInput(conferenceKey, fields, FLAGS)
  return async ({ db }) => {
    const caller = await findConference(db, conference)
    return withTenant(db, caller, (trx) =>
      createConferenceKey(trx, CLI_PRINCIPAL, caller.conferenceId, request),
    )
  }
}

const input = z.strictObject({ ...pageQuery, conference: z.string().optional() })

/** `keys:list` */
export function addKeysList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'keys:list',
    summary: 'List API keys, without their secrets',
    examples: [
      ['keys:list --conference devconf', "a conference's keys"],
      ['keys:list', "the operator's keys"],
    ],
  })
  command.option('--conference <slug|id>', 'the conference (default: operator keys)')
  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(input, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const owner = await ownerOf(db, conference)
      return withOwner(db, owner, (trx) => listKeys(trx, owner.conferenceId, query))
    })
    const body = mapPage(page, (row) => toApiKeyBody(toApiKey(row), null))
    answer(cli, command, body, (paint) => renderPage(body, keyColumns(systemClock.now()), paint))
  })
}

/** `keys:revoke` */
export function addKeysRevoke(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'keys:revoke <key>',
    summary: 'Revoke an API key immediately',
    details: 'A repeat is a no-op.',
    examples: [['keys:revoke key_V1StGXR8Z5jdHi6BmyT7a', 'by its id, not by the key itself']],
  })
  command.action(async (id: string) => {
    await withSession(cli, ({ db }) =>
      inPlatformOrOwner(db, 'API key', (trx, conferenceId) => revokeKey(trx, conferenceId, id)),
    )
    answer(cli, command, { id, revoked: true }, () => `Revoked ${id}.\n`)
  })
}

type KeyBody = z.infer<typeof apiKeySchema>

/** @param now decides whether the key has expired. */
function keyState(key: KeyBody, now: Date): 'active' | 'revoked' | 'rotated' | 'expired' {
  if (key.revoked_at !== null) return 'revoked'
  if (key.expires_at !== null && new Date(key.expires_at) <= now) return 'expired'
  return key.rotated_to === null ? 'active' : 'rotated'
}

function keyColumns(now: Date): readonly Column<KeyBody>[] {
  return [
    { head: 'ID', cell: ({ id }) => id },
    { head: 'NAME', cell: ({ name }) => name, paint: (_key, paint) => paint.bold },
    { head: 'ROLE', cell: ({ role }) => role },
    {
      head: 'STATE',
      cell: (key) => keyState(key, now),
      paint: (key, paint) => (keyState(key, now) === 'active' ? paint.green : paint.dim),
    },
    { head: 'SCOPES', cell: ({ scopes }) => scopes.join(',') },
    { head: 'SPONSOR', cell: ({ sponsor }) => sponsor },
    { head: 'ENDS', cell: ({ last4 }) => `…${last4}` },
    { head: 'EXPIRES (UTC)', cell: ({ expires_at }) => momentText(expires_at) },
    { head: 'LAST USED (UTC)', cell: ({ last_used_at }) => momentText(last_used_at) },
  ]
}
