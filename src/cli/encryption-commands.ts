import type { Command } from 'commander'
import { SEALED_CHECK, SEALED_CREDENTIALS } from '../conferences/stripe-credentials.ts'
import {
  countSealed,
  rotateSealed,
  type SealedCount,
  type SealedTable,
} from '../db/sealed-values.ts'
import { SEALED_ANSWERS } from '../http/idempotency.ts'
import { SEALED_ENDPOINT_SECRETS } from '../notifications/webhook-endpoints.ts'
import { SEALED_ERASURES } from '../privacy/erasure-store.ts'
import { AppError } from '../shared/errors.ts'
import { withSession } from './cli-session.ts'
import { addCommand, answer, type Cli } from './command.ts'
import { type Column, renderTable } from './table.ts'

/** Every table with encrypted values, without the one by which a process knows its key. */
const SEALED: readonly SealedTable[] = [
  ...SEALED_CREDENTIALS,
  SEALED_ENDPOINT_SECRETS,
  SEALED_ANSWERS,
  SEALED_ERASURES,
]

/** `encryption:rotate` */
export function addEncryptionRotate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'encryption:rotate',
    summary: 'Encrypt all secrets again with ENCRYPTION_KEY',
    details:
      'Reads what is encrypted with ENCRYPTION_KEY_SECOND and encrypts it with ENCRYPTION_KEY, in small transactions beside the running service. After an interruption, run it again. It fails while something is left that only the second key can read.',
    examples: [
      ['encryption:rotate --check', 'how many secrets each key encrypts'],
      ['encryption:rotate', 'encrypt again what only the second key can read'],
    ],
  }).option('--check', 'only count, change nothing')

  command.action(async (options: { check?: boolean }) => {
    const counts = await withSession(cli, async ({ db, encryption }) => {
      if (options.check === true) return countSealed(db, encryption, [...SEALED, SEALED_CHECK])
      const rotated = await rotateSealed(db, encryption, SEALED)
      // Until then, a process with the old key alone may start.
      const check = isDone(rotated) ? rotateSealed : countSealed
      return [...rotated, ...(await check(db, encryption, [SEALED_CHECK]))]
    })
    answer(
      cli,
      command,
      { object: 'encryption_report', done: isDone(counts), data: counts },
      (paint) => renderTable(counts, COLUMNS, paint),
    )
    if (!isDone(counts)) throw notDone(counts)
  })
}

const isDone = (counts: readonly SealedCount[]) =>
  counts.every(({ second, unreadable }) => second === 0 && unreadable === 0)

function notDone(counts: readonly SealedCount[]): AppError {
  const sum = (name: 'second' | 'unreadable') =>
    counts.reduce((total, count) => total + count[name], 0)
  const left = sum('second')
  const detail =
    left > 0
      ? `${left} values can only be read with ENCRYPTION_KEY_SECOND. Keep it, and run encryption:rotate when every process has the new ENCRYPTION_KEY.`
      : `${sum('unreadable')} values can be read with neither key. Set ENCRYPTION_KEY_SECOND to the key that was used before.`
  return new AppError('wrong_state', detail)
}

const COLUMNS: readonly Column<SealedCount>[] = [
  { head: 'TABLE', cell: ({ table }) => table },
  { head: 'CURRENT KEY', cell: ({ current }) => current, align: 'right' },
  { head: 'SECOND KEY', cell: ({ second }) => second, align: 'right' },
  { head: 'NEITHER', cell: ({ unreadable }) => unreadable, align: 'right' },
  { head: 'ROTATED NOW', cell: ({ rotated }) => rotated, align: 'right' },
]
