import type { z } from 'zod'
import { UsageError } from './usage-error.ts'

const dashed = (field: string) => `--${field.replaceAll('_', '-')}`

/** `--created-after` as commander names it becomes the API's `created_after`. */
export function toFields(options: Record<string, unknown>): Record<string, unknown> {
  const { json: _json, ...fields } = options
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value,
    ]),
  )
}

/**
 * Checks what the options say by the rules of the API.
 *
 * @param flags fields whose option is not simply spelt like them.
 * @throws UsageError that names each wrong option.
 */
export function parseInput<T>(
  schema: z.ZodType<T>,
  fields: Record<string, unknown>,
  flags: Record<string, string> = {},
): T {
  const parsed = schema.safeParse(fields)
  if (parsed.success) return parsed.data
  const errors = parsed.error.issues.map(({ path: [field = ''], message }) => ({
    pointer: flags[String(field)] ?? dashed(String(field)),
    detail: message,
  }))
  throw new UsageError(
    errors.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; '),
    errors,
  )
}
