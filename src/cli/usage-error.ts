import type { FieldError } from '../shared/errors.ts'

/** The command line is wrong: exit code 2, and nothing was done. */
export class UsageError extends Error {
  readonly errors: FieldError[]

  constructor(message: string, errors: FieldError[] = []) {
    super(message)
    this.name = 'UsageError'
    this.errors = errors
  }
}
