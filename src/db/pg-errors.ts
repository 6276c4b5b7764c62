import knex from 'knex'

const { KnexTimeoutError } = knex

type PgError = Error & { code: string; constraint?: string }

/** Whether the error is a unique violation (23505), of the named constraint or index if given. */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  if (!isPgError(error) || error.code !== '23505') return false
  return constraint === undefined || error.constraint === constraint
}

/** Whether Postgres ended the statement because transactions waited for each other (40P01). */
export function isDeadlock(error: unknown): boolean {
  return isPgError(error) && error.code === '40P01'
}

/** Whether the statement waited for a lock longer than `lock_timeout` allows (55P03). */
export function isLockTimeout(error: unknown): boolean {
  return isPgError(error) && error.code === '55P03'
}

function isPgError(error: unknown): error is PgError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
}

/** A server that is no longer the primary refuses to write. */
export const READ_ONLY = '25006'

const UNAVAILABLE_CODES = new Set([
  READ_ONLY,
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT', // the unix socket of a server that has ended
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '53100', // disk_full
  '53300', // too_many_connections
  '58030', // io_error
  '08000',
  '08001',
  '08003',
  '08006',
  '08P01', // of PgBouncer: it has no connection, or Postgres closed it
])

/**
 * Whether the database could not be reached or the connection was lost: the answer is 503, and the
 * caller may retry. @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (error instanceof KnexTimeoutError) return true
  if (error instanceof AggregateError) return error.errors.some(isDatabaseUnavailable)
  if (!(error instanceof Error)) return false
  if (isPgError(error) && UNAVAILABLE_CODES.has(error.code)) return true
  return /Connection terminated|timeout expired|connection timeout|not queryable/i.test(
    error.message,
  )
}
