import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../../src/cli/program.ts'
import { loadConfig } from '../../src/config.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { useServices } from '../main/run-service.ts'
import { openShop, type Shop } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { settingsFor, useCliOnStripe } from './command-line.ts'
import { startProgram } from './start-program.ts'

const { app, cli, env, stripe } = useCliOnStripe({ STRIPE_REQUESTS_PER_SECOND: '0' })
const startService = useServices()
afterEach(() => stripe.fake.control.clearFaults())

type Run = Body & {
  id: string
  resource: string
  state: string
  counts: Record<string, number>
  details: { id: string; outcome: string }[]
}
type Answer = { data: Run[]; problems: Body[] }

const seed = (shop: Shop, count: number) => stripe.fake.control.seedCustomers(shop.stripeKey, count)

const at = (shop: Shop) => ['--conference', shop.conference]

const mirrored = (shop: Shop) =>
  app.rows<{ id: string }>(
    `select id from stripe.customers
     where conference_id = $1 and deleted_at is null order by id`,
    [shop.conference],
  )

const runsOf = (shop: Shop) =>
  app.rows<{ id: string; state: string; fetched: number; started_by: string; attempt: number }>(
    `select id, state, fetched::int, started_by, attempt from sync_runs
     where conference_id = $1 order by created_at`,
    [shop.conference],
  )

const slowLists = (ms: number) =>
  stripe.fake.control.injectFault({
    path: '/v1/customers',
    times: 'always',
    action: { kind: 'slow', ms },
  })

/** Stripe answers so many lists of customers, and then none. */
const hangAfter = (lists: number) =>
  stripe.fake.control.injectFault({
    path: '/v1/customers',
    skip: lists,
    times: 'always',
    action: { kind: 'hang' },
  })

const startSync = (shop: Shop, settings: NodeJS.ProcessEnv = {}) =>
  startProgram('src/cli/sponsor-vouchers.ts', ['sync', 'customers', ...at(shop)], {
    ...settingsFor(app.connectionString),
    ...env,
    ...settings,
  })

const fetchedAtLeast = (shop: Shop, count: number) =>
  expect.poll(async () => (await runsOf(shop)).at(-1)?.fetched ?? 0).toBeGreaterThanOrEqual(count)

it('uses the only conference with a Stripe key by default', async () => {
  const none = await cli.run(['sync', 'customers', '--json'])
  expect(none).toMatchObject({ exitCode: 1, stdout: '' })
  expect(JSON.parse(none.stderr)).toMatchObject({ code: 'stripe_key_missing' })
  const shop = await openShop(app)
  await app.request('POST', '/v1/conferences', {
    body: { slug: 'keyless', name: 'Keyless', currency: 'EUR' },
  })
  seed(shop, 3)
  const { data } = await cli.json<Answer>(['sync', 'customers'])
  expect(data).toMatchObject([{ resource: 'customers', counts: { created: 3 } }])
  const keyless = await cli.run(['sync', 'customers', '--conference', 'keyless', '--json'])
  expect(keyless).toMatchObject({ exitCode: 1, stdout: '' })
  expect(JSON.parse(keyless.stderr)).toMatchObject({ code: 'stripe_key_missing' })
  await openShop(app)
  const several = await cli.run(['sync', 'customers'])
  expect(several).toMatchObject({
    exitCode: 2,
    stderr: expect.stringMatching(
      /--conference is required, because several conferences have a Stripe key/,
    ),
  })
  expect((await cli.run(['sync', 'customers', '--conference', 'nowhere'])).exitCode).toBe(1)
})

describe('a sync', () => {
  let shop: Shop
  beforeEach(async () => {
    shop = await openShop(app)
  })

  it('of all resources prints a line for each (E1)', async () => {
    seed(shop, 120)
    const { exitCode, stdout, stderr } = await cli.run(['sync', 'all', ...at(shop)])
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(
      /^RESOURCE +STATE +FETCHED +CREATED +UPDATED +UNCHANGED +DELETED +FAILED +REQUESTS +SECONDS\n/,
    )
    for (const { name } of ALL_RESOURCES) {
      expect(stdout).toMatch(new RegExp(`^${name} +succeeded +\\d`, 'm'))
      expect(stderr).toMatch(new RegExp(`^${name}: started sync_`, 'm'))
      expect(stderr).toMatch(new RegExp(`^${name}: succeeded, \\d+ fetched in \\d+\\.\\d s$`, 'm'))
    }
    expect(stdout).toMatch(/^customers +succeeded +120 +120 +0 +0 +0 +0 +2 +\d/m)
    expect(await mirrored(shop)).toHaveLength(120)
  }, 60_000)

  it('syncs parents before their children, in any order of the arguments', async () => {
    const named = ['payment-methods', 'customers', 'payment-methods']
    const { data } = await cli.json<Answer>(['sync', ...named, ...at(shop)])
    expect(data.map(({ resource }) => resource)).toEqual(['customers', 'payment-methods'])
  })

  it('with --json prints the runs like the API, and nothing else', async () => {
    seed(shop, 5)
    const ran = await cli.run(['sync', 'customers', 'coupons', ...at(shop), '--json'])
    expect(ran).toMatchObject({ exitCode: 0, stderr: '' })
    const { data, problems } = JSON.parse(ran.stdout) as Answer
    expect(problems).toEqual([])
    expect(data.map(({ resource }) => resource)).toEqual(['customers', 'coupons'])
    for (const run of data) {
      expect(run).toMatchObject({ object: 'sync_run', state: 'succeeded', started_by: 'cli' })
      const path = `${shop.path}/stripe/sync-runs/${run.id}`
      expect((await app.request('GET', path)).body).toEqual(run)
    }
  })

  it('of single ids reads only those', async () => {
    const [one = '', two = ''] = seed(shop, 10)
    const args = ['sync', 'customers', '--ids', `${one}, ${two}`, ...at(shop)]
    const { data } = await cli.json<Answer>(args)
    expect(data).toMatchObject([{ ids: [one, two], counts: { fetched: 2, created: 2 } }])
    expect(await mirrored(shop)).toHaveLength(2)
  })

  it('with --since and a day reads objects created from its first second on, in UTC', async () => {
    const day = Date.UTC(2026, 0, 10) / 1000
    stripe.fake.control.seedCustomers(shop.stripeKey, 2, { from: day - 1, to: day })
    const since = ['--since', '2026-01-10']
    const { data } = await cli.json<Answer>(['sync', 'customers', ...since, ...at(shop)])
    expect(data).toMatchObject([{ since: '2026-01-10T00:00:00.000Z', counts: { fetched: 1 } }])
    const later = ['--since', '2026-01-10T00:00:01+00:00']
    const { data: none } = await cli.json<Answer>(['sync', 'customers', ...later, ...at(shop)])
    expect(none).toMatchObject([{ counts: { fetched: 0, deleted: 0 } }])
  })

  it('as a dry run prints the planned changes by id, and changes nothing', async () => {
    const nothing = await cli.run(['sync', 'customers', '--dry-run', ...at(shop)])
    expect(nothing.stdout).toContain('customers: nothing would change.')
    const [gone = '', changed = ''] = seed(shop, 30)
    await cli.json(['sync', 'customers', ...at(shop)])
    const { control } = stripe.fake
    control.call(shop.stripeKey, 'DELETE', `/v1/customers/${gone}`)
    control.call(shop.stripeKey, 'POST', `/v1/customers/${changed}`, { name: 'Changed' })
    const [added = ''] = seed(shop, 1)
    const { exitCode, stdout } = await cli.run(['sync', 'customers', '--dry-run', ...at(shop)])
    expect(exitCode).toBe(0)
    expect(stdout).toContain('customers, changes that a sync would make:\n')
    expect(stdout).toContain(`  create ${added}\n`)
    expect(stdout).toContain(`  update ${changed}\n`)
    expect(stdout).toContain(`  delete ${gone}\n`)
    expect(await mirrored(shop)).toHaveLength(30)
  })

  it('as a dry run with many changes prints how many more there are', async () => {
    seed(shop, 1_050)
    const { stdout } = await cli.run(['sync', 'customers', '--dry-run', ...at(shop)])
    expect(stdout.match(/^ {2}create cus_/gm)).toHaveLength(1_000)
    expect(stdout).toMatch(/^ {2}and \d+ more$/m)
    expect(await mirrored(shop)).toEqual([])
  }, 30_000)

  it('deletes many objects only with --force, otherwise exits with 1', async () => {
    const ids = seed(shop, 40)
    await cli.json(['sync', 'customers', ...at(shop)])
    for (const id of ids.slice(0, 15)) {
      stripe.fake.control.call(shop.stripeKey, 'DELETE', `/v1/customers/${id}`)
    }
    const refused = await cli.run(['sync', 'customers', 'coupons', ...at(shop)])
    expect(refused.exitCode).toBe(1)
    expect(refused.stdout).toMatch(/^customers +failed/m)
    expect(refused.stdout).toMatch(/^coupons +succeeded/m)
    expect(refused.stdout).toMatch(
      /^customers: .*Nothing was marked as deleted.*\(mass_deletion_refused\)$/m,
    )
    expect(refused.stderr).toContain('error: 1 of 2 syncs failed: customers. (sync_failed)')
    expect(await mirrored(shop)).toHaveLength(40)
    const forced = await cli.json<Answer>(['sync', 'customers', '--force', ...at(shop)])
    expect(forced.data).toMatchObject([{ force: true, counts: { deleted: 15 } }])
    expect(await mirrored(shop)).toHaveLength(25)
  })

  it('that Stripe refuses exits with 1 and prints the reason of Stripe', async () => {
    stripe.fake.control.revokeKey(shop.stripeKey)
    const { exitCode, stdout, stderr } = await cli.run(['sync', 'customers', ...at(shop), '--json'])
    expect(exitCode).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      data: [
        {
          state: 'failed',
          error: {
            code: 'stripe_key_rejected',
            message: expect.stringMatching(/API Key/i),
            stripe_request_id: expect.stringMatching(/^req_/),
          },
        },
      ],
    })
    expect(JSON.parse(stderr)).toMatchObject({ code: 'sync_failed' })
  })

  it('shows a progress bar on a terminal, replaced by the result', async () => {
    seed(shop, 400)
    await cli.json(['sync', 'customers', ...at(shop)])
    slowLists(400)
    let err = ''
    const exitCode = await runCli(['sync', 'customers', ...at(shop)], {
      terminal: {
        out: { colours: false, write() {} },
        err: { colours: false, write: (text) => void (err += text), columns: () => 60 },
        readLine: async () => null,
      },
      loadConfig: () => loadConfig({ ...settingsFor(app.connectionString), ...env }),
      signal: new AbortController().signal,
    })
    expect(exitCode).toBe(0)
    const drawn = err.split('\r').filter((line) => line.includes('░'))
    expect(drawn.length).toBeGreaterThan(1)
    expect(drawn.some((line) => /█░.*\d of about 400/.test(line))).toBe(true)
    for (const line of drawn) expect(line.replace('\u001b[K', '').length).toBeLessThan(60)
    expect(err.split('\r\u001b[K').at(-1)).toMatch(
      /^customers: succeeded, 400 fetched in \d+\.\d s\n$/,
    )
  })
})

describe('an invalid command line', () => {
  it.for([
    [
      'an unknown resource',
      ['customer'],
      /unknown resource 'customer'.*all, .*customers, .*refunds/,
    ],
    ['no resource', [], /missing required argument 'resource'/],
    ['all and another', ['all', 'customers'], /`all` cannot be combined with other resources/],
    ['ids of everything', ['all', '--ids', 'cus_1'], /--ids needs exactly one resource/],
    ['ids of two', ['customers', 'coupons', '--ids', 'x'], /--ids needs exactly one resource/],
    ['foreign ids', ['customers', '--ids', 'cus_1,pi_2'], /pi_2: ids of customers begin with cus_/],
    ['an empty id', ['customers', '--ids', 'cus_1,'], /--ids has an empty id/],
    ['a malformed day', ['customers', '--since', '2027-02-30'], /--since must be a date/],
    ['a malformed time', ['customers', '--since', 'yesterday'], /--since must be a date/],
    [
      'ids and a time',
      ['customers', '--ids', 'cus_1', '--since', '2027-01-01'],
      /--ids and --since cannot be combined/,
    ],
    ['an unknown state', [':runs', '--state', 'done'], /--state/],
    ['an unknown resource of runs', [':runs', '--resource', 'customer'], /--resource/],
  ] as const)('ends with 2: %s', async ([, [first = '', ...rest], message]) => {
    const args = first.startsWith(':') ? [`sync${first}`, ...rest] : ['sync', first, ...rest]
    const { exitCode, stdout, stderr } = await cli.run(args.filter((arg) => arg !== ''))
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' })
    expect(stderr).toMatch(message)
  })
})

describe('Ctrl-C', { timeout: 90_000 }, () => {
  it('cancels the run after its page, and prints what was done', async () => {
    const shop = await openShop(app)
    seed(shop, 5_000)
    slowLists(300)
    const program = startSync(shop)
    await fetchedAtLeast(shop, 300)
    program.kill('SIGINT')
    expect(await program.ended).toBe(130)
    const [run, ...others] = await runsOf(shop)
    expect(run).toMatchObject({ state: 'cancelled', started_by: 'cli' })
    expect(others).toEqual([])
    expect(program.stdout).toMatch(/^customers +cancelled +\d+/m)
    expect(program.stderr).toMatch(/^customers: cancelled, /m)
    expect(program.stderr).toMatch(/error: Interrupted\. \(interrupted\)\n$/)
    // Whole pages, and all that is counted is there.
    const stored = await mirrored(shop)
    expect(stored.length).toBeGreaterThanOrEqual(300)
    expect(stored.length).toBeLessThan(5_000)
    const again = await cli.run(['sync:runs', '--state', 'cancelled', ...at(shop)])
    expect(again.stdout).toContain(run?.id)
  })

  it('does not wait for Stripe, and does not start the next resource', async () => {
    const shop = await openShop(app)
    hangAfter(0)
    const stop = new AbortController()
    const running = cli.run(['sync', 'customers', 'coupons', ...at(shop)], { signal: stop.signal })
    await expect.poll(() => runsOf(shop)).toHaveLength(1)
    stop.abort()
    const { exitCode, stdout } = await running
    expect(exitCode).toBe(130)
    expect(stdout).toMatch(/^customers +cancelled/m)
    expect(stdout).not.toContain('coupons')
    expect(await runsOf(shop)).toMatchObject([{ state: 'cancelled' }])
  })
})

describe('a sync that is killed with -9', { timeout: 120_000 }, () => {
  let shop: Shop
  beforeEach(async () => {
    shop = await openShop(app)
    seed(shop, 2_000)
    hangAfter(8)
  })

  async function killInTheMiddle(settings: NodeJS.ProcessEnv) {
    const program = startSync(shop, settings)
    await fetchedAtLeast(shop, 500)
    program.kill('SIGKILL')
    await program.ended
    stripe.fake.control.clearFaults()
    const [run] = await runsOf(shop)
    if (run === undefined) throw new Error('There is no run')
    expect(run.state).toBe('running')
    return run
  }

  it('is resumed by the next command after its lease expires; until then that fails', async () => {
    const run = await killInTheMiddle({ LEASE_SECONDS: '600' })
    const early = await cli.run(['sync', 'customers', ...at(shop), '--json'])
    expect(early.exitCode).toBe(1)
    expect(JSON.parse(early.stdout)).toMatchObject({
      data: [],
      problems: [{ resource: 'customers', code: 'sync_running', sync_run: run.id }],
    })
    await app.rows('update sync_runs set lease_until = now() where id = $1', [run.id])
    const other = await cli.run(['sync', 'customers', '--dry-run', ...at(shop)])
    expect(other).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('sync_running') })
    const { exitCode, stdout, stderr } = await cli.run(['sync', 'customers', ...at(shop)])
    expect(exitCode).toBe(0)
    expect(stderr).toContain(`customers: resuming ${run.id}, ${run.fetched} fetched so far\n`)
    expect(stdout).toMatch(/^customers +succeeded/m)
    expect(await runsOf(shop)).toMatchObject([{ id: run.id, state: 'succeeded', attempt: 2 }])
    expect(await mirrored(shop)).toHaveLength(2_000)
  })

  it('is resumed by a worker', async () => {
    const run = await killInTheMiddle({ LEASE_SECONDS: '3' })
    await startService({
      DATABASE_URL: app.connectionString,
      ...env,
      RUN: 'work',
    })
    await expect
      .poll(async () => (await runsOf(shop))[0]?.state, { timeout: 60_000 })
      .toBe('succeeded')
    expect(await runsOf(shop)).toMatchObject([{ id: run.id, started_by: 'cli', attempt: 2 }])
    expect(await mirrored(shop)).toHaveLength(2_000)
  })
})

describe('runs', () => {
  it('are listed, and cancelled in any conference', async () => {
    const shop = await openShop(app)
    await cli.json(['sync', 'coupons', ...at(shop)])
    const asked = await app.request<Run>('POST', `${shop.path}/stripe/customers/sync`)
    const { id } = asked.body
    const listed = await cli.json<{ data: Run[] }>(['sync:runs', ...at(shop)])
    expect(listed.data.map(({ resource }) => resource)).toEqual(['customers', 'coupons'])
    const filter = ['--resource', 'customers', '--state', 'queued']
    const { stdout } = await cli.run(['sync:runs', ...filter, ...at(shop)])
    expect(stdout).toMatch(new RegExp(`^${id} +customers +queued +api`, 'm'))
    expect(stdout).not.toContain('coupons')
    expect(await cli.run(['sync:cancel', id])).toMatchObject({
      exitCode: 0,
      stdout: `Cancelled ${id} of customers.\n`,
    })
    const again = await cli.run(['sync:cancel', id, '--json'])
    expect(again.exitCode).toBe(1)
    expect(JSON.parse(again.stderr)).toMatchObject({ code: 'wrong_state', state_now: 'cancelled' })
    expect((await cli.run(['sync:cancel', 'sync_missing'])).exitCode).toBe(1)
  })
})
