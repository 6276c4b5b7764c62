import type { Command } from 'commander'
import { addCommand } from '../add-command.ts'
import type { Cli } from '../cli.ts'
import { toFields } from '../parse-input.ts'
import { performSync } from '../sync/perform-sync.ts'
import { toSyncRequest } from '../sync/sync-request.ts'

/** `sync` */
export function addSync(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sync <resource...>',
    summary: 'Make the mirror of Stripe equal to Stripe, for some resources or for all',
    details:
      'Works in this process and may be ended and repeated at any time; when the process is killed, ' +
      'a working process goes on with the run. What is gone at Stripe becomes a tombstone; more than ' +
      'a fifth at once only with --force. With --json the answer also has the member problems: the ' +
      'resources that could not be begun. Ends with 1 when one did not succeed; the others are done.',
    examples: [
      ['sync all', 'everything, of the only conference with a Stripe key'],
      ['sync customers payment-methods --conference devconf', 'two resources'],
      ['sync coupons --dry-run', 'what would change and be deleted'],
      ['sync customers --ids cus_1,cus_2', 'these only'],
      ['sync charges --since 2027-01-01', 'what was created since then; deletes nothing'],
    ],
  })
    .option('--conference <slug|id>', 'default: the only one with a Stripe key')
    .option('--ids <ids>', 'only these objects, separated by commas')
    .option('--since <time>', 'only what was created from then on: a date (UTC) or RFC 3339')
    .option('--dry-run', 'change nothing and tell what would change')
    .option('--force', 'delete whatever is gone at Stripe, however much it is')

  command.action(async (names: string[]) => {
    await performSync(cli, command, toSyncRequest(names, toFields(command.opts())))
  })
}
