import { CommanderError } from 'commander'
import { buildProgram } from './build-program.ts'
import type { Cli } from './cli.ts'
import { EXIT, toFailure, toProblem } from './failure.ts'
import { createPaint } from './output/paint.ts'

/**
 * Runs one command line.
 *
 * @param argv without the names of node and of the script.
 * @returns the exit code: 0 done, 1 failed, 2 the command line is not valid.
 */
export async function runCli(argv: readonly string[], cli: Cli): Promise<number> {
  try {
    await buildProgram(cli).parseAsync(argv, { from: 'user' })
    return EXIT.ok
  } catch (error) {
    // Asked for: help on standard output.
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
    // The help itself was the answer to a line without a command.
    if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage
    return report(error, argv, cli)
  }
}

function report(error: unknown, argv: readonly string[], { terminal: { err } }: Cli): number {
  const failure = toFailure(error)
  if (argv.includes('--json')) {
    err.write(`${JSON.stringify(toProblem(failure))}\n`)
  } else {
    const paint = createPaint(err.colours)
    err.write(`${paint.red('error:')} ${failure.detail} ${paint.dim(`(${failure.code})`)}\n`)
  }
  return failure.exitCode
}
