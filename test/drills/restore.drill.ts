import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import {
  giveToServerUser,
  makeServerFolder,
  type PostgresServer,
  runProgram,
  serverAt,
  startPrimary,
  writeAsServerUser,
} from '../cluster/support/postgres.ts'
import { describeWith } from '../cluster/support/programs.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { type PurchaseAnswer, useFakeStripe } from '../support/shop.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { countKept, startLoad } from './support/load.ts'
import { say } from './support/say.ts'

describeWith('initdb', 'pg_basebackup')('a database that was destroyed', () => {
  useServiceProcesses()
  const stripe = useFakeStripe()
  let primary: PostgresServer
  let backup: string
  /** On the backup, at the address of the primary. */
  let restored: PostgresServer
  beforeAll(async () => {
    const folder = await makeServerFolder()
    const archive = join(folder, 'archive')
    await mkdir(archive)
    await giveToServerUser(archive)
    primary = await startPrimary({
      archive_mode: 'on',
      archive_command: `test ! -f ${archive}/%f && cp %p ${archive}/%f`,
    })
    backup = join(folder, 'restored')
    restored = serverAt(backup, primary.port, {
      restore_command: `cp ${archive}/%f %p`,
      recovery_target_action: 'promote',
    })
  })

  it('is restored to the moment before, and Stripe returns what was paid since', async () => {
    const service = await startServiceProcess({
      DATABASE_URL: primary.connectionString,
      STRIPE_API_BASE: stripe.fake.url,
      DATABASE_POOL: '8',
      LEASE_SECONDS: '6',
      MISSED_EVENTS_EVERY_SECONDS: '2',
    })
    await service.ready()
    const load = await startLoad(service, stripe.fake)
    await load.untilRedeemed(5)
    const source = `host=127.0.0.1 port=${primary.port} user=postgres`
    await runProgram('pg_basebackup', ['-d', source, '-D', backup, '-X', 'none', '-c', 'fast'])
    say(`base backup taken; ${load.acknowledged.redemptions.length} codes redeemed before it`)
    await load.untilRedeemed(5)
    await load.stop()

    const { shop } = load
    const open = await shop.buy({ quantity: 3 })
    const session = await shop.openSession(open.id)
    const [moment] = await primary.query<{ now: string }>('select clock_timestamp()::text as now')
    const counted = await countKept(primary.query, load, stripe.fake)
    say(
      `the moment to restore: ${moment?.now}; ${load.acknowledged.redemptions.length} codes redeemed`,
    )

    stripe.fake.control.pay(session)
    await expect.poll(async () => (await shop.get(open.id)).status, POLL_OPTIONS).toBe('PAID')
    say('a purchase was paid after it')
    await primary.query(
      'drop table voucher_batches, vouchers, redemptions, purchase_transitions cascade',
    )
    const [last] = await primary.query<{ file: string }>(
      'select pg_walfile_name(pg_switch_wal()) as file',
    )
    const isArchived = 'select last_archived_wal >= $1 as done from pg_stat_archiver'
    await expect
      .poll(() => primary.query(isArchived, [last?.file]), POLL_OPTIONS)
      .toEqual([{ done: true }])
    await primary.kill()
    say('tables were dropped; the server is killed')

    await writeAsServerUser(join(backup, 'recovery.signal'), '')
    await writeAsServerUser(
      join(backup, 'postgresql.auto.conf'),
      `recovery_target_time = '${moment?.now}'\n`,
    )
    await restored.start()
    await expect
      .poll(() => restored.query('select pg_is_in_recovery() as waits'), POLL_OPTIONS)
      .toEqual([{ waits: false }])
    say('the backup and the archived log are restored to that moment, at the same address')

    const kept = await countKept(restored.query, load, stripe.fake)
    for (const what of ['purchases', 'codes', 'redemptions'] as const) {
      say(`${what}: ${counted[what].found} at that moment, ${kept[what].found} restored`)
      expect(kept[what]).toEqual(counted[what])
    }
    // The process was not restarted. It compares Stripe's list of events with the stored ones.
    const purchase = async () =>
      (await service.request<PurchaseAnswer>('GET', `${shop.path}/purchases/${open.id}`)).body
    await expect
      .poll(async () => (await purchase()).vouchers?.issued ?? 0, {
        ...POLL_OPTIONS,
        timeout: 120_000,
      })
      .toBe(3)
    say(`the purchase that was paid after that moment: ${(await purchase()).status}, 3 new codes`)
  })
})
