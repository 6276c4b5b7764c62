import { AppError } from '../shared/errors.ts'
import { maskStripeSecrets } from './stripe-errors.ts'

const MAX_LENGTH = 500

function textOf(error: unknown): string {
  if (error instanceof AppError) return `${error.code}: ${error.message}`
  if (!(error instanceof Error)) return 'Something that is no error was thrown.'
  // knex puts the whole statement with its values into the message: voucher codes among them.
  if ('severity' in error && 'code' in error) {
    // pg sets it on every error, undefined where there is none.
    const named = 'constraint' in error && typeof error.constraint === 'string'
    const constraint = named ? ` (${String(error.constraint)})` : ''
    return `database error ${String(error.code)}${constraint}`
  }
  return `${error.name}: ${error.message}`
}

/** Why a try failed, for `last_error` and the log: short, without keys, codes or SQL values. */
export function errorText(error: unknown): string {
  return maskStripeSecrets(textOf(error)).slice(0, MAX_LENGTH)
}
