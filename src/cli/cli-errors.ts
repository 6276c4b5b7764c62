import { CommanderError } from 'commander'
import { ConfigError } from '../config.ts'
import { EmbeddedPostgresError } from '../db/embedded/embedded-postgres-error.ts'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import {
  AppError,
  ERROR_CATALOGUE,
  type FieldError,
  problemType,
  StartupError,
} from '../shared/errors.ts'
import { Interrupted, plainText } from './terminal.ts'

// 130 is what shells report for a program that Ctrl-C ended.
export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

/** What went wrong, as the API would say it; beside the API's codes there are `usage`,
 * `settings_invalid`, `sync_failed`, `drift_found`, `webhooks_missed` and `interrupted`. */
export type Failure = {
  exitCode: number
  code: string
  title: string
  status: number
  detail: string
  errors: readonly FieldError[]
  extra: Record<string, unknown>
}

/** Any error as one that can be told. */
export function toFailure(error: unknown): Failure {
  if (error instanceof UsageError) {
    return failure('usage', 'The command line is not valid', 400, error.message, {
      exitCode: EXIT.usage,
      errors: error.errors,
    })
  }
  if (error instanceof CommanderError) {
    const detail = error.message.replace(/^error: /, '')
    return failure('usage', 'The command line is not valid', 400, detail, { exitCode: EXIT.usage })
  }
  if (error instanceof AppError) {
    const { title, status } = ERROR_CATALOGUE[error.code]
    const { errors, extra } = error
    return failure(error.code, title, status, error.message, { errors, extra })
  }
  if (error instanceof ConfigError || error instanceof StartupError) {
    return failure('settings_invalid', 'The command cannot run like this', 500, error.message)
  }
  if (error instanceof SyncFailed) {
    return failure('sync_failed', 'Not every sync succeeded', 500, error.message)
  }
  if (error instanceof DriftFound) {
    return failure('drift_found', 'Not everything is as Stripe has it', 409, error.message)
  }
  if (error instanceof WebhooksMissed) {
    return failure('webhooks_missed', 'Too many events never came', 409, error.message)
  }
  if (error instanceof Interrupted) {
    return failure('interrupted', 'Somebody ended the command', 500, error.message, {
      exitCode: EXIT.interrupted,
    })
  }
  const detail = error instanceof Error ? error.message : String(error)
  if (error instanceof EmbeddedPostgresError) {
    return failure('database_unavailable', 'The database cannot be started', 503, detail)
  }
  if (isDatabaseUnavailable(error)) {
    const { title, status } = ERROR_CATALOGUE.database_unavailable
    return failure('database_unavailable', title, status, reasonOf(error))
  }
  return failure('internal', ERROR_CATALOGUE.internal.title, 500, detail)
}

function failure(
  code: string,
  title: string,
  status: number,
  detail: string,
  more: Partial<Pick<Failure, 'exitCode' | 'errors' | 'extra'>> = {},
): Failure {
  const text = plainText(detail).replace(/ +/g, ' ').trim()
  return {
    exitCode: EXIT.failed,
    errors: [],
    extra: {},
    ...more,
    code,
    title,
    status,
    detail: text,
  }
}

// Node reports one error for each address of a name, under an empty message.
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}

/** A problem document (RFC 9457), as the API spells it. */
export type Problem = {
  type: string
  title: string
  status: number
  code: string
  detail: string
  errors?: readonly FieldError[]
}

export function toProblem({ code, title, status, detail, errors, extra }: Failure): Problem {
  return {
    type: problemType(code),
    title,
    status,
    code,
    detail,
    ...(errors.length > 0 ? { errors } : {}),
    ...extra,
  }
}

/** The command line is wrong: exit code 2, and nothing was done. */
export class UsageError extends Error {
  readonly errors: FieldError[]

  constructor(message: string, errors: FieldError[] = []) {
    super(message)
    this.name = 'UsageError'
    this.errors = errors
  }
}

/** A comparison went through and found differences: an answer, and yet not a success. */
export class DriftFound extends Error {
  constructor(lines: number) {
    super(lines === 1 ? 'One difference.' : `${lines} differences.`)
    this.name = 'DriftFound'
  }
}

/** More of Stripe's events were missing than the threshold allows: an answer, and no success. */
export class WebhooksMissed extends Error {
  constructor(conferences: readonly string[]) {
    super(`Stripe's webhooks do not arrive: ${conferences.join(', ')}.`)
    this.name = 'WebhooksMissed'
  }
}

/** Not every resource was synced; what became of each is in the answer. */
export class SyncFailed extends Error {
  constructor(failed: readonly string[], all: number) {
    super(`${failed.length} of ${all} syncs did not succeed: ${failed.join(', ')}.`)
    this.name = 'SyncFailed'
  }
}
