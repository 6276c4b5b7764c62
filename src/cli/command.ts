import { type Command, InvalidArgumentError } from 'commander'
import type { z } from 'zod'
import type { Config, ConfigUse } from '../config.ts'
import { describeIssue, type Issue } from '../shared/describe-issue.ts'
import { UsageError } from './cli-errors.ts'
import { createPaint, type Paint, type Terminal } from './terminal.ts'

/** What every command receives. */
export type Cli = {
  terminal: Terminal
  /** Called only by commands that need settings: `--help` works without any. */
  loadConfig: (use?: ConfigUse) => Config
  /** Aborts a command; it still cleans up. */
  signal: AbortSignal
}

/** Prints the result of a command: the API's JSON with `--json`, otherwise text for people. */
export function answer(
  { terminal: { out } }: Cli,
  command: Command,
  body: object,
  text: (paint: Paint) => string,
): void {
  out.write(
    wantsJson(command) ? `${JSON.stringify(body, null, 2)}\n` : text(createPaint(out.colours)),
  )
}

export type CommandSpec = {
  /** `conferences:create`, or with arguments `purchases:show <purchase>`. */
  usage: string
  /** One line for the list of commands. */
  summary: string
  /** More text for the command's own help. */
  details?: string
  /** Command lines without the program's name, each with its purpose. */
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

/** `--limit` and `--cursor`, which every list has. */
export function addPageOptions(command: Command): Command {
  return command
    .option('--limit <number>', 'page size, at most 100 (default: 50)')
    .option('--cursor <cursor>', 'the cursor that is printed below the previous page')
}

/**
 * The value of an option for a count or for minor units. `Number` would take `250.00` for 250 minor units, and an
 * empty text, such as a shell's variable that is not set, for 0, which gives away a purchase.
 *
 * @throws InvalidArgumentError unless it has only digits, which may follow a minus.
 */
export function wholeNumber(text: string): number {
  if (/^-?\d{1,15}$/.test(text)) return Number(text)
  throw new InvalidArgumentError(
    'It must be a whole number. Money is in minor units: 25000 is 250.00.',
  )
}

/**
 * The value of an option for percent, or for percent or minor units. Decimals that are only zeros are refused:
 * `10.00` may be meant as money.
 *
 * @throws InvalidArgumentError
 */
export function decimalNumber(text: string): number {
  if (/^-?\d{1,15}(\.\d*[1-9]\d*)?$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It must be a number such as 12.5, and 10 instead of 10.00.')
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
 * Checks the options by the rules of the API.
 *
 * @param flags options that are not spelt like their fields, and arguments, by field.
 * @throws UsageError that names each invalid option.
 */
export function parseInput<T>(
  schema: z.ZodType<T>,
  fields: Record<string, unknown>,
  flags: Record<string, string> = {},
): T {
  const parsed = schema.safeParse(fields)
  if (parsed.success) return parsed.data
  const errors = parsed.error.issues.map((issue) => {
    const field = String(issue.path[0] ?? '')
    const detail = describeIssue(issue as Issue, fields[field] === undefined)
    return { pointer: flags[field] ?? dashed(field), detail }
  })
  throw new UsageError(
    errors.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; '),
    errors,
  )
}

/** The values of `--metadata name=value` as an object. @throws UsageError */
export function metadataOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=')
      if (at < 1) throw new UsageError(`--metadata must be name=value, not ${text}`)
      return [text.slice(0, at), text.slice(at + 1)]
    }),
  )
}

/** Whether the command line has `--json`. */
export function wantsJson(command: Command): boolean {
  return command.optsWithGlobals()['json'] === true
}

/**
 * The value of an option for a secret; `-` means the next line of standard input. An empty value
 * (`STRIPE_SECRET_KEY=` in an .env file) counts as absent.
 *
 * @throws UsageError if standard input has no further line.
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
    throw new UsageError(`${flag} - needs a line on standard input`)
  }
  return line
}
