import { beforeAll, expect, it } from 'vitest'
import {
  type PatroniCluster,
  serviceDatabaseAt,
  startPatroniCluster,
} from '../cluster/support/patroni.ts'
import { describeWith } from '../cluster/support/programs.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { useFakeStripe } from '../support/shop.ts'
import { adminQuery } from '../support/test-connections.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { countKept, startLoad } from './support/load.ts'
import { say } from './support/say.ts'

describeWith(
  'patroni',
  'etcd',
  'haproxy',
  'initdb',
)('a primary that dies', () => {
  useServiceProcesses()
  const stripe = useFakeStripe()
  let cluster: PatroniCluster
  beforeAll(async () => {
    cluster = await startPatroniCluster()
  })

  it('is replaced by its synchronous standby, and nothing that was acknowledged is lost', async () => {
    const { primary, standby } = await cluster.roles()
    say(`three nodes: ${primary.name} is the primary, ${standby.name} its synchronous standby`)
    const service = await startServiceProcess({
      DATABASE_URL: serviceDatabaseAt(cluster.primaryPort),
      DATABASE_READ_URL: serviceDatabaseAt(cluster.replicaPort),
      STRIPE_API_BASE: stripe.fake.url,
      DATABASE_POOL: '8',
      LEASE_SECONDS: '6',
    })
    await service.ready()
    const load = await startLoad(service, stripe.fake)
    await load.untilRedeemed(10)
    say(
      `under load: ${load.acknowledged.redemptions.length} codes redeemed, ${load.refused()} requests refused`,
    )

    const killedAt = performance.now()
    await primary.kill()
    say(`killed ${primary.name}`)
    await load.untilRedeemed(1)
    const outage = ((performance.now() - killedAt) / 1_000).toFixed(1)
    const after = await cluster.roles()
    say(`${after.primary.name} is the primary; first redemption ${outage} s after the kill`)
    expect(after.primary.name).toBe(standby.name)
    await load.untilRedeemed(10)
    await load.stop()
    say(
      `${load.refused()} requests were refused with 503 and repeated, ${load.unclear.length} failed otherwise`,
    )
    expect(load.unclear).toEqual([])

    const admin = adminOf(cluster)
    const kept = await countKept(
      (sql, parameters) => adminQuery(admin, sql, parameters),
      load,
      stripe.fake,
    )
    for (const [what, { acknowledged, found }] of Object.entries(kept)) {
      say(`${what}: ${acknowledged} acknowledged, ${found} found`)
      expect(found, what).toBe(acknowledged)
    }
    const codes = await adminQuery(
      admin,
      `select count(*)::int as count, count(distinct (batch_id, ordinal))::int as distinct from vouchers`,
    )
    expect(codes).toEqual([{ count: kept.codes.found, distinct: kept.codes.found }])

    // Without a restart: the connections for notifications and liveness lead to the new primary.
    const names = async () =>
      (
        await adminQuery<{ name: string }>(
          admin,
          `select application_name as name from pg_stat_activity where application_name like 'sponsor-%'`,
        )
      ).map(({ name }) => name)
    await expect.poll(names, POLL_OPTIONS).toContain('sponsor-vouchers notifications')
    await expect.poll(names, POLL_OPTIONS).toContain('sponsor-vouchers liveness')

    primary.start()
    await expect.poll(async () => (await primary.state())?.role, POLL_OPTIONS).toBe('replica')
    await expect.poll(async () => (await primary.state())?.state, POLL_OPTIONS).toBe('running')
    say(`${primary.name} is back as a replica`)
  })
})

const adminOf = ({ primaryPort }: PatroniCluster) =>
  `postgres://postgres@127.0.0.1:${primaryPort}/vouchers`
