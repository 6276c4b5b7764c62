import type { Command } from 'commander'
import type { Config, ConfigUse } from '../config.ts'
import { createPaint, type Paint } from './output/paint.ts'
import type { Terminal } from './output/terminal.ts'

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
