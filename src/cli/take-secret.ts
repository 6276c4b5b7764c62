import type { Terminal } from './output/terminal.ts'
import { UsageError } from './usage-error.ts'

/**
 * What an option for a secret says; `-` means the next line of standard input. Absent and empty
 * (`STRIPE_SECRET_KEY=` in an .env file) are both none.
 *
 * @throws UsageError when standard input ends before the line.
 */
export async function takeSecret(
  terminal: Pick<Terminal, 'readLine'>,
  flag: string,
  value: unknown,
): Promise<string | undefined> {
  if (typeof value !== 'string' || value === '') return undefined
  if (value !== '-') return value
  const line = (await terminal.readLine())?.trim()
  if (line === undefined || line === '') {
    throw new UsageError(`${flag} - expects a line on standard input`)
  }
  return line
}
