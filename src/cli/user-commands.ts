import type { Command } from 'commander'
import { z } from 'zod'
import { inviteOperator, inviteUser } from '../access/manage-users.ts'
import { createSignInLink } from '../access/sign-in.ts'
import {
  inviteOperatorBody,
  inviteUserBody,
  toUserBody,
  type userSchema,
} from '../access/user-schemas.ts'
import { listUsers, removeUser } from '../access/user-store.ts'
import { getConference } from '../conferences/conference-store.ts'
import { webUrlOf } from '../config.ts'
import { mapPage } from '../db/pages.ts'
import { withOwner, withSystem, withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { SCOPES } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
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

type UserBody = z.output<typeof userSchema>

const conferenceUser = inviteUserBody.extend({ conference: z.string().min(1) })

/** `users:invite` */
export function addUsersInvite(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'users:invite <email>',
    summary: 'Let a person sign in',
    details: `The person gets a mail, if a mail server is configured. Scopes for staff: ${SCOPES.join(', ')}.`,
    examples: [
      ['users:invite ada@example.org --role operator', 'for every conference'],
      [
        'users:invite grace@example.org --role staff --conference devconf --scopes purchases:read,purchases:write',
        'staff of one conference',
      ],
      [
        'users:invite bob@acme.example --role sponsor --conference devconf --sponsor acme',
        'a member of a sponsor',
      ],
    ],
  })
    .requiredOption('--role <role>', 'operator, staff or sponsor')
    .option('--name <name>', 'the name of the person')
    .option('--conference <slug|id>', 'the conference; required for staff and sponsors')
    .option('--sponsor <slug|id>', 'the sponsor; required for the role sponsor')
    .option('--scopes <list>', 'for staff: scopes, separated by commas')

  command.action(async (email: string) => {
    const invite = inviting({ ...toFields(command.opts()), email })
    const body = toUserBody(await withSession(cli, invite))
    answer(cli, command, body, () => `${body.email} can sign in as ${body.role} (${body.id}).\n`)
  })
}

// The options are checked before a database is opened.
function inviting({ role, scopes, ...fields }: Record<string, unknown>) {
  if (role === 'operator') {
    const person = parseInput(inviteOperatorBody, fields)
    return ({ db }: Session) =>
      withSystem(
        db,
        'manage-conferences',
        (trx) => inviteOperator(trx, CLI_PRINCIPAL.id, person),
        CLI_ACTOR,
      )
  }
  if (role === 'staff' && scopes === undefined) {
    throw new UsageError(`--scopes is required for staff. Scopes: ${SCOPES.join(', ')}`)
  }
  const granted = typeof scopes === 'string' ? scopes.split(/[\s,]+/).filter(Boolean) : scopes
  const { conference, ...person } = parseInput(conferenceUser, {
    ...fields,
    role,
    ...(granted === undefined ? {} : { scopes: granted }),
  })
  return async ({ db }: Session) => {
    const caller = await findConference(db, conference)
    return withTenant(db, caller, async (trx) =>
      inviteUser(trx, CLI_PRINCIPAL, await getConference(trx, caller.conferenceId), person),
    )
  }
}

const listInput = z.strictObject({ ...pageQuery, conference: z.string().optional() })

/** `users:list` */
export function addUsersList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'users:list',
    summary: 'List the people who may sign in',
    examples: [
      ['users:list --conference devconf', 'staff and members of sponsors'],
      ['users:list', 'operators'],
    ],
  })
  command.option('--conference <slug|id>', 'the conference (default: operators)')
  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const owner = await ownerOf(db, conference)
      return withOwner(db, owner, (trx) => listUsers(trx, usersOf(owner.conferenceId), query))
    })
    const body = mapPage(page, toUserBody)
    answer(cli, command, body, (paint) => renderPage(body, COLUMNS, paint))
  })
}

const usersOf = (conferenceId: string | null) => ({ conferenceId, sponsorId: null })

/** `users:remove` */
export function addUsersRemove(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'users:remove <user>',
    summary: 'Take the access from a person immediately',
    examples: [['users:remove usr_V1StGXR8Z5jdHi6BmyT7a', 'by the id from users:list']],
  })
  command.action(async (id: string) => {
    await withSession(cli, ({ db }) =>
      inPlatformOrOwner(db, 'user', (trx, conferenceId) =>
        removeUser(trx, usersOf(conferenceId), id),
      ),
    )
    answer(cli, command, { id, removed: true }, () => `Removed ${id}.\n`)
  })
}

/** `users:sign-in-link` */
export function addUsersSignInLink(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'users:sign-in-link <email>',
    summary: 'Print a link with which a person signs in once',
    details: 'For the first operator, and where no mail server is configured.',
    examples: [['users:sign-in-link ada@example.org', 'works for 15 minutes']],
  })
  command.action(async (email: string) => {
    const link = await withSession(cli, ({ db, config }) =>
      // A person at the command line may create as many as the table takes.
      createSignInLink(db, email, webUrlOf(config), Number.MAX_SAFE_INTEGER),
    )
    if (link === null) throw new AppError('not_found', `No user has the address ${email}.`)
    answer(cli, command, { email, link }, () => `${link}\n`)
  })
}

const COLUMNS: readonly Column<UserBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'EMAIL', cell: ({ email }) => email, paint: (_user, paint) => paint.bold },
  { head: 'NAME', cell: ({ name }) => name },
  { head: 'ROLE', cell: ({ role }) => role },
  { head: 'SPONSOR', cell: ({ sponsor }) => sponsor },
  { head: 'SCOPES', cell: ({ scopes }) => scopes.join(',') },
  { head: 'LAST SEEN (UTC)', cell: ({ last_seen_at: at }) => momentText(at) },
]
