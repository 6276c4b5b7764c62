import type { Command } from 'commander'
import type { z } from 'zod'
import type { Config, ConfigUse } from '../config.ts'
import { UsageError } from './cli-errors.ts'
import { createPaint, type Paint, type Terminal } from './terminal.ts'

/** What every command is given. */
export type Cli = {
  terminal: Terminal
  /** Read only by a command that needs it, so that `--help` works without any setting. */
  loadConfig: (use?: ConfigUse) => Config
  /** Ends a command early; it still cleans up. */
  signal: AbortSignal
}

/** Prints what a command found or made: the API's object with `--json`, else text for people. */
export function answer(
  { terminal: { out } }: Cli,
  command: Command,
  body: object,
  text: (paint: Paint) => string,
): void {
  const isJson = command.optsWithGlobals()['json'] === true
  out.write(isJson ? `${JSON.stringify(body, null, 2)}\n` : text(createPaint(out.colours)))
}

export type CommandSpec = {
  /** `conferences:create`, or with arguments `purchases:show <purchase>`. */
  usage: string
  /** One line for the list of commands. */
  summary: string
  /** Further lines for the command's own help. */
  details?: string
  /** Full command lines without the program's name, each with what it does. */
  examples: readonly (readonly [args: string, purpose: string])[]
}

/** Declares a command whose help ends with examples. */
export function addCommand(program: Command, spec: CommandSpec): Command {
  const details = spec.details === undefined ? '' : `\n\n${spec.details}`
  const examples = spec.examples.map(
    ([args, purpose]) => `  # ${purpose}\n  ${program.name()} ${args}\n`,
  )
  return program
    .command(spec.usage)
    .summary(spec.summary)
    .description(`${spec.summary}.${details}`)
    .addHelpText('after', `\nExamples:\n${examples.join('')}`)
}

/** `--limit` and `--cursor`, as every list has them. */
export function addPageOptions(command: Command): Command {
  return command
    .option('--limit <number>', 'how many at once, at most 100 (50)')
    .option('--cursor <cursor>', 'where the page before ended')
}

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
