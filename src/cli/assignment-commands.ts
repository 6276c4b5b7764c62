import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { z } from 'zod'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError, type FieldError } from '../shared/errors.ts'
import { assignInBulk } from '../vouchers/assign-in-bulk.ts'
import { assignVoucher, unassignVoucher } from '../vouchers/assign-vouchers.ts'
import { assignmentText, parseAssignmentFile, toFieldError } from '../vouchers/assignment-file.ts'
import {
  type AssignmentUpload,
  assignBody,
  toAssignFileBody,
} from '../vouchers/assignment-schemas.ts'
import { toVoucherBody } from '../vouchers/voucher.ts'
import { UsageError } from './cli-errors.ts'
import { findConference, withSession } from './cli-session.ts'
import { addCommand, answer, type Cli, parseInput, toFields, wantsJson } from './command.ts'
import { type Column, renderTable } from './table.ts'
import { createPaint, plainText } from './terminal.ts'
import { batchOf } from './voucher-commands.ts'

const assignInput = assignBody.extend({
  conference: z.string().min(1),
  only_if_free: z.boolean().default(false),
})

/** `vouchers:assign` */
export function addVouchersAssign(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:assign <code>',
    summary: 'Assign a voucher to a person, who gets the code by e-mail',
    details: 'The same person again is a no-op. A person who is replaced still knows the code.',
    examples: [
      [
        'vouchers:assign BULK-ACME-7KQ2M9XWPT4A --conference devconf --email ada@acme.example --name "Ada Lovelace"',
        'replaces anyone who has it',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--email <address>', 'the address of the person')
    .option('--name <text>', 'the name of the person')
    .option('--replaces <address>', 'only if this person has the voucher, or no one')
    .option('--only-if-free', 'only if no one has the voucher')
    .option('--no-send', 'do not send the code')

  command.action(async (code: string) => {
    const input = parseInput(assignInput, toFields(command.opts()))
    if (input.only_if_free && input.replaces !== undefined) {
      throw new UsageError('--only-if-free cannot be combined with --replaces')
    }
    const { email, name = null, send } = input
    const replaces = input.only_if_free ? null : input.replaces
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, input.conference)
      return withTenant(db, caller, async (trx) =>
        toVoucherBody(await assignVoucher(trx, caller, code, { email, name }, { replaces, send })),
      )
    })
    answer(cli, command, body, () => `Assigned ${body.code} to ${plainText(email)}.\n`)
  })
}

/** `vouchers:unassign` */
export function addVouchersUnassign(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:unassign <code>',
    summary: 'Remove the assignment of a voucher',
    details: 'Safe to repeat. The person gets no e-mail, but still knows the code.',
    examples: [['vouchers:unassign BULK-ACME-7KQ2M9XWPT4A --conference devconf', 'one voucher']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (code: string, { conference }: { conference: string }) => {
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toVoucherBody(await unassignVoucher(trx, caller, code)),
      )
    })
    answer(cli, command, body, () => `${body.code} is assigned to no one.\n`)
  })
}

type FileOptions = {
  conference: string
  purchase?: string
  batch?: string
  preview?: true
  replace?: true
  send: boolean
}

const LINE_COLUMNS: readonly Column<AssignmentUpload['data'][number]>[] = [
  { head: 'LINE', cell: ({ line }) => line, align: 'right' },
  { head: 'CODE', cell: ({ code }) => code },
  { head: 'E-MAIL', cell: ({ email }) => email },
  { head: 'NAME', cell: ({ name }) => name },
  { head: 'OUTCOME', cell: ({ outcome }) => outcome },
]

const ERROR_COLUMNS: readonly Column<FieldError>[] = [
  { head: 'PLACE', cell: ({ pointer }) => pointer },
  { head: 'PROBLEM', cell: ({ detail }) => detail },
]

/** `vouchers:assign-csv` */
export function addVouchersAssignCsv(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'vouchers:assign-csv <file>',
    summary: 'Assign vouchers to the persons of a CSV file',
    details:
      'Columns: email, and if wanted name and code. A line without a code gets the next free voucher. All lines are assigned, or none. The same file again changes nothing.',
    examples: [
      [
        'vouchers:assign-csv team.csv --conference devconf --purchase bp_V1StGXR8Z5jdHi6BmyT7a --preview',
        'shows the errors by line and what would be assigned',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--purchase <id>', 'the purchase')
    .option('--batch <id>', 'or the batch')
    .option('--preview', 'change and send nothing')
    .option('--replace', 'a line with a code may replace the person who has it')
    .option('--no-send', 'do not send the codes')

  command.action(async (path: string, options: FileOptions) => {
    if ((options.purchase === undefined) === (options.batch === undefined)) {
      throw new UsageError('either --purchase or --batch is required')
    }
    const file = parseAssignmentFile(assignmentText(await readInput(path)))
    const { preview: dryRun = false, replace = false, send } = options
    try {
      const done = await withSession(cli, async (session) => {
        const caller = await findConference(session.db, options.conference)
        const batchId = await batchOf(session, caller, options)
        return withTenant(session.db, caller, (trx) =>
          assignInBulk(trx, caller, batchId, file, { dryRun, replace, send }),
        )
      })
      const body = toAssignFileBody(done, dryRun)
      answer(cli, command, body, (paint) => renderTable(body.data, LINE_COLUMNS, paint))
      if (done.errors.length > 0) throw previewError(done.errors.map(toFieldError))
    } catch (error) {
      if (error instanceof AppError && error.errors.length > 0 && !wantsJson(command)) {
        const { err } = cli.terminal
        err.write(renderTable(error.errors, ERROR_COLUMNS, createPaint(err.colours)))
      }
      throw error
    }
  })
}

async function readInput(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    throw new UsageError(`the file ${path} cannot be read: ${reason}`)
  }
}

const previewError = (errors: FieldError[]) =>
  new AppError(
    'validation_failed',
    `${errors.length === 1 ? 'One problem is' : `${errors.length} problems are`} to be corrected.`,
    { errors },
  )
