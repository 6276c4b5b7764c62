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

// Shells report 130 for a program that Ctrl-C ended.
export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

/**
 * An error in the terms of the API. Besides the API's codes there are `usage`, `settings_invalid`,
 * `sync_failed`, `drift_found`, `webhooks_missed` and `interrupted`.
 */
export type Failure = {
  exitCode: number
  code: string
  title: string
  status: number
  detail: string
  errors: readonly FieldError[]
  extra: Record<string, unknown>
}

/** Converts any error. */
export function toFailure(error: unknown): Failure {
  if (error instanceof UsageError) {
    return failure('usage', 'Invalid command line', 400, error.message, {
      exitCode: EXIT.usage,
      errors: error.errors,
    })
  }
  if (error instanceof CommanderError) {
    const detail = error.message.replace(/^error: /, '')
    return failure('usage', 'Invalid command line', 400, detail, { exitCode: EXIT.usage })
  }
  if (error instanceof AppError) {
    const { title, status } = ERROR_CATALOGUE[error.code]
    const { errors, extra } = error
    return failure(error.code, title, status, error.message, { errors, extra })
  }
  if (error instanceof ConfigError || error instanceof StartupError) {
    return failure('settings_invalid', 'Invalid settings or database schema', 500, error.message)
  }
  if (error instanceof SyncFailed) {
    return failure('sync_failed', 'Some resources were not synced', 500, error.message)
  }
  if (error instanceof DriftFound) {
    return failure('drift_found', 'Local data differs from Stripe', 409, error.message)
  }
  if (error instanceof WebhooksMissed) {
    return failure('webhooks_missed', 'Too many webhook events are missing', 409, error.message)
  }
  if (error instanceof Interrupted) {
    return failure('interrupted', 'The command was interrupted', 500, error.message, {
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

// For a host name with several addresses, Node reports one error each, below an empty message.
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}

/** A problem document (RFC 9457), as the API answers it. */
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

/** An invalid command line: exit code 2, nothing was done. */
export class UsageError extends Error {
  readonly errors: FieldError[]

  constructor(message: string, errors: FieldError[] = []) {
    super(message)
    this.name = 'UsageError'
    this.errors = errors
  }
}

/** The comparison completed and found differences: exit code 1. */
export class DriftFound extends Error {
  constructor(lines: number) {
    super(lines === 1 ? 'Found one difference.' : `Found ${lines} differences.`)
    this.name = 'DriftFound'
  }
}

/** More events were missing than the threshold allows: exit code 1. */
export class WebhooksMissed extends Error {
  constructor(conferences: readonly string[]) {
    super(
      `Too many webhook events of Stripe were missing for: ${conferences.join(', ')}. Check the webhook endpoint at Stripe.`,
    )
    this.name = 'WebhooksMissed'
  }
}

/** Some resources were not synced: exit code 1. The output has the result of each. */
export class SyncFailed extends Error {
  constructor(failed: readonly string[], all: number) {
    super(`${failed.length} of ${all} syncs failed: ${failed.join(', ')}.`)
    this.name = 'SyncFailed'
  }
}
