import type { Command } from 'commander'

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
