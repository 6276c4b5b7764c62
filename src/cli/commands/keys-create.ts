import type { Command } from 'commander'
import { z } from 'zod'
import type { IssuedKey } from '../../access/api-key.ts'
import {
  createConferenceKeyBody,
  createOperatorKeyBody,
  toIssuedKeyBody,
} from '../../access/api-key-schemas.ts'
import { createConferenceKey, createOperatorKey } from '../../access/create-api-key.ts'
import { withSystem, withTenant } from '../../db/tenant-scope.ts'
import { SCOPES } from '../../http/access-rule.ts'
import { addCommand } from '../add-command.ts'
import { answer, type Cli } from '../cli.ts'
import { CLI_PRINCIPAL } from '../cli-actor.ts'
import { findConference } from '../find-conference.ts'
import { parseInput, toFields } from '../parse-input.ts'
import { type Session, withSession } from '../with-session.ts'

const FLAGS = { expires_at: '--expires' }

const conferenceKey = createConferenceKeyBody.extend({ conference: z.string().min(1) })

/** `keys:create` */
export function addKeysCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'keys:create',
    summary: 'Create an API key and show it this once',
    details: `Scopes of staff keys: ${SCOPES.join(', ')}.`,
    examples: [
      [
        'keys:create --role staff --conference devconf --name "Front desk" --scopes vouchers:read,vouchers:redeem',
        'a key for staff of one conference',
      ],
      [
        'keys:create --role sponsor --conference devconf --sponsor acme --name "Acme shop" --expires 2027-12-31',
        'a key for one sponsor, until that day begins (UTC)',
      ],
      ['keys:create --role operator --name "Deployment"', 'a key of the platform'],
    ],
  })
    .addOption(
      program
        .createOption('--role <role>', 'whose key it is')
        .choices(['operator', 'staff', 'sponsor'])
        .makeOptionMandatory(),
    )
    .requiredOption('--name <name>', 'what it is for')
    .option('--conference <slug|id>', 'for staff and sponsors')
    .option('--sponsor <slug|id>', 'for sponsors: id, slug or external id')
    .option('--scopes <list>', 'for staff: separated by commas')
    .option('--expires <time>', 'RFC 3339, or a day such as 2027-12-31')

  command.action(async () => {
    const fields = fieldsOf(command)
    const issue = fields['role'] === 'operator' ? forOperator(fields) : forTenant(fields)
    const issued = await withSession(cli, issue)
    const body = toIssuedKeyBody(issued)
    answer(cli, command, body, (paint) =>
      [
        `Created the ${body.role} key ${body.id}.\n\n`,
        `  ${paint.bold(issued.text)}\n\n`,
        `${paint.dim('It is not shown again; only its hash is kept.')}\n`,
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

// The options are read before a database is opened for them.
type Issue = (session: Session) => Promise<IssuedKey>

function forOperator(fields: Record<string, unknown>): Issue {
  const request = parseInput(createOperatorKeyBody, fields, FLAGS)
  return ({ db }) =>
    withSystem(db, 'manage-conferences', (trx) => createOperatorKey(trx, CLI_PRINCIPAL, request))
}

function forTenant(fields: Record<string, unknown>): Issue {
  const { conference, ...request } = parseInput(conferenceKey, fields, FLAGS)
  return async ({ db }) => {
    const { conferenceId } = await findConference(db, conference)
    return withTenant(db, { conferenceId }, (trx) =>
      createConferenceKey(trx, CLI_PRINCIPAL, conferenceId, request),
    )
  }
}
