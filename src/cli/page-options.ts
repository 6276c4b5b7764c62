import type { Command } from 'commander'

/** `--limit` and `--cursor`, as every list has them. */
export function addPageOptions(command: Command): Command {
  return command
    .option('--limit <number>', 'how many at once, at most 100 (50)')
    .option('--cursor <cursor>', 'where the page before ended')
}
