import type { Command } from 'commander'
import { addCommand } from '../add-command.ts'
import type { Cli } from '../cli.ts'
import { toFields } from '../parse-input.ts'
import { performSync } from '../sync/perform-sync.ts'
import { toSyncRequest } from '../sync/sync-request.ts'

/** `coupons:refresh` */
export function addCouponsRefresh(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'coupons:refresh [coupon...]',
    summary: 'Read coupons anew from Stripe, some or all',
    details:
      'What the webhooks do by themselves, after they were missed: it is `sync coupons`. What is gone ' +
      'at Stripe becomes a tombstone; more than a fifth at once only with --force.',
    examples: [
      ['coupons:refresh', 'all coupons of the only conference with a Stripe key'],
      ['coupons:refresh SPRING-25 --conference devconf', 'this one'],
      ['coupons:refresh --dry-run', 'what would change'],
    ],
  })
    .option('--conference <slug|id>', 'default: the only one with a Stripe key')
    .option('--dry-run', 'change nothing and tell what would change')
    .option('--force', 'delete whatever is gone at Stripe, however much it is')

  command.action(async (coupons: string[]) => {
    const ids = coupons.length === 0 ? {} : { ids: coupons.join(',') }
    await performSync(
      cli,
      command,
      toSyncRequest(['coupons'], { ...toFields(command.opts()), ...ids }),
    )
  })
}
