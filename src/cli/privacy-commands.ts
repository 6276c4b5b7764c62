import type { Command } from 'commander'
import { withTenant } from '../db/tenant-scope.ts'
import { redactStoredAnswers } from '../http/idempotency.ts'
import { beginErasure, finishErasure } from '../privacy/erase-personal-data.ts'
import { exportPersonalData } from '../privacy/export-personal-data.ts'
import { eraseBody, exportBody, toErasureBody, toExportBody } from '../privacy/privacy-schemas.ts'
import { findSubject } from '../privacy/subject.ts'
import { findConference, withSession } from './cli-session.ts'
import { addCommand, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, renderFields, renderTable } from './table.ts'

function addSubjectOptions(command: Command): Command {
  return command
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--email <address>', 'the e-mail address of a person')
    .option('--sponsor <slug|id>', 'or a sponsor')
}

/** `privacy:export` */
export function addPrivacyExport(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'privacy:export',
    summary: 'Export the data of a person or sponsor',
    details: 'With --json, the output has every row. Voucher codes have their own export.',
    examples: [
      [
        'privacy:export --conference devconf --email ada@acme.example --json > ada.json',
        'what is stored about a person',
      ],
      ['privacy:export --conference devconf --sponsor acme', 'the number of rows by table'],
    ],
  })
  addSubjectOptions(command).action(async () => {
    const { conference, ...fields } = toFields(command.opts())
    const input = parseInput(exportBody, fields)
    const body = await withSession(cli, async ({ db, clock }) => {
      const caller = await findConference(db, String(conference))
      const subject = await withTenant(db, caller, (trx) =>
        findSubject(trx, caller.conferenceId, input),
      )
      return toExportBody(
        subject,
        await exportPersonalData(db, caller.conferenceId, subject),
        clock.now(),
      )
    })
    const lines = Object.entries(body.tables).map(([table, { length }]) => ({
      table,
      rows: length,
    }))
    answer(cli, command, body, (paint) =>
      lines.length === 0 ? 'Nothing is stored.\n' : renderTable(lines, COLUMNS, paint),
    )
  })
}

const COLUMNS: readonly Column<{ table: string; rows: number }>[] = [
  { head: 'TABLE', cell: ({ table }) => table },
  { head: 'ROWS', cell: ({ rows }) => rows, align: 'right' },
]

/** `privacy:erase` */
export function addPrivacyErase(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'privacy:erase',
    summary: 'Erase the data of a person or sponsor',
    details:
      'Money, counts, ids and the history stay, without names. Refused while money of the subject is not ' +
      'settled. It cannot be undone; it may be repeated. docs/privacy.md says what Stripe and backups keep.',
    examples: [
      [
        'privacy:erase --conference devconf --email ada@acme.example --confirm ada@acme.example',
        'a person',
      ],
      [
        'privacy:erase --conference devconf --sponsor acme --confirm acme',
        'a sponsor, with its keys',
      ],
    ],
  })
  addSubjectOptions(command)
    .requiredOption('--confirm <text>', 'repeats the address or the sponsor')
    .action(async () => {
      const { conference, ...fields } = toFields(command.opts())
      const input = parseInput(eraseBody, fields)
      const body = await withSession(cli, async ({ db, encryption }) => {
        const caller = await findConference(db, String(conference))
        const { conferenceId } = caller
        const erasureId = await withTenant(db, caller, async (trx) =>
          beginErasure(trx, encryption, caller, await findSubject(trx, conferenceId, input)),
        )
        const redactAnswers = (id: string, redact: (value: unknown) => unknown) =>
          redactStoredAnswers({ db, encryption }, id, redact)
        return toErasureBody(
          await finishErasure({ db, encryption, redactAnswers }, { conferenceId, erasureId }),
        )
      })
      const lines = Object.entries(body.erased).map(([table, rows]) => ({ table, rows }))
      answer(cli, command, body, (paint) =>
        [
          renderFields(
            [
              ['id', body.id],
              ['state', body.state],
              ['customers that Stripe still has', body.stripe_customers.join(', ')],
            ],
            paint,
          ),
          ...(lines.length === 0 ? [] : [`\n${renderTable(lines, COLUMNS, paint)}`]),
        ].join(''),
      )
    })
}
