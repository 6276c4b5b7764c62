import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { builtProgram } from '../support/built-programs.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { useFakeStripe } from '../support/shop.ts'
import { adminQuery } from '../support/test-connections.ts'
import { createEmptyDatabase, type TestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { type Balancer, startBalancer } from './support/balancer.ts'
import { type Buyers, startBuyers } from './support/buyers.ts'
import { buildLastRelease, describeWithLastRelease } from './support/last-release.ts'
import { type Staff, startStaff } from './support/staff.ts'

const run = promisify(execFile)

/** What the processes logged of requests that failed: the answers name only the request. */
const errorsOf = (...processes: readonly ServiceProcess[]): string =>
  processes
    .flatMap((each) => each.output().split('\n'))
    .filter((line) => line.includes('"level":50'))
    .join('\n')

describeWithLastRelease()('an upgrade from the last release, while sponsors buy', () => {
  useServiceProcesses()
  const stripe = useFakeStripe()
  let database: TestDatabase
  let balancer: Balancer
  let old: ServiceProcess[]
  let buyers: Buyers
  let staff: Staff

  const migrate = (program: string) =>
    run(process.execPath, [program, 'migrate'], {
      env: { PATH: process.env['PATH'], DATABASE_URL: database.connectionString },
    })

  const startTwo = (program: string): Promise<ServiceProcess[]> => {
    const env = {
      DATABASE_URL: database.connectionString,
      STRIPE_API_BASE: stripe.fake.url,
      DATABASE_POOL: '8',
    }
    return Promise.all(
      [1, 2].map(async () => {
        const started = await startServiceProcess(env, program)
        await started.ready()
        return started
      }),
    )
  }

  const urls = (...processes: ServiceProcess[]) => processes.map(({ url }) => url)

  beforeAll(async () => {
    const release = await buildLastRelease()
    database = await createEmptyDatabase()
    afterAll(() => database.drop())
    await migrate(release.program('src/cli/sponsor-vouchers.ts'))
    old = await startTwo(release.program('src/main.ts'))
    balancer = await startBalancer()
    await balancer.use(urls(...old))
    buyers = await startBuyers({ url: balancer.url, stripe: stripe.fake, count: 4 })
    staff = startStaff(balancer.url, buyers)
  })

  it('fails no request and loses nothing', async () => {
    await buyers.untilBought(6)
    await migrate(builtProgram('src/cli/sponsor-vouchers.ts'))
    // The old release on the new schema.
    await buyers.untilBought(6)
    const fresh = await startTwo(builtProgram('src/main.ts'))
    await balancer.use(urls(...old, ...fresh))
    await buyers.untilBought(12)
    for (const each of [...old, ...fresh]) expect(balancer.answered(each.url)).toBeGreaterThan(0)
    await balancer.use(urls(...fresh))
    expect(await Promise.all(old.map((each) => each.terminate()))).toEqual([0, 0])
    await buyers.untilBought(6)
    await buyers.stop()
    await staff.stop()
    const errors = errorsOf(...old, ...fresh)
    expect(buyers.failures(), errors).toEqual([])
    expect(staff.failures(), errors).toEqual([])
    expect(staff.done()).toMatchObject({
      redeemed: expect.toSatisfy((count: number) => count > 12),
      refunded: expect.toSatisfy((count: number) => count > 3),
    })

    // What the requests of all that time left behind, counted.
    const count = async (sql: string) => {
      const [row] = await adminQuery<{ count: number }>(
        database.adminConnectionString,
        `select count(*)::int as count from ${sql}`,
      )
      return row?.count
    }
    await expect
      .poll(() => count(`stripe_events where status not in ('done', 'ignored')`), POLL_OPTIONS)
      .toBe(0)
    await expect.poll(() => count(`graphile_worker.jobs where attempts > 1`), POLL_OPTIONS).toBe(0)
    const bought = buyers.bought().length
    expect(await count(`bulk_purchases where status = 'PAID'`)).toBe(bought)
    expect(await count(`bulk_purchases`)).toBe(bought)
    expect(await count(`vouchers`)).toBe(3 * bought)
    expect(await count(`redemptions`)).toBe(staff.done().redeemed)
    expect(await count(`vouchers where state = 'deactivated'`)).toBe(staff.done().refunded)
    for (const each of fresh) expect(await each.terminate()).toBe(0)
  })
})
