import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { ROOT } from '../architecture/source-tree.ts'
import { parseMetrics, parseQuery } from '../support/promql.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { openShop, useFakeStripe } from '../support/shop.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

const rulesFile = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Vouchers[A-Z]\w+$/),
          expr: z.string(),
          for: z
            .string()
            .regex(/^\d+[smhd]$/)
            .optional(),
          labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
          annotations: z.strictObject({ summary: z.string(), description: z.string() }),
        }),
      ),
    }),
  ),
})

const dashboardFile = z.object({
  panels: z.array(
    z.object({
      id: z.int(),
      title: z.string(),
      gridPos: z.strictObject({ h: z.int(), w: z.int(), x: z.int(), y: z.int() }),
      targets: z
        .array(
          z.object({
            expr: z.string(),
            legendFormat: z.string(),
            datasource: z.strictObject({
              type: z.literal('prometheus'),
              uid: z.literal('$' + '{datasource}'),
            }),
          }),
        )
        .optional(),
    }),
  ),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.string() })) }),
})

type Place = { where: string; expr: string; names: string }

let exported: ReturnType<typeof parseMetrics>
let rules: z.infer<typeof rulesFile>['groups'][number]['rules']
let dashboard: z.infer<typeof dashboardFile>
let places: Place[]
let operations: string
/** Outcomes that no scene of this test causes are checked against the type that the code reports. */
let outcomes: string

const read = (path: string) => readFile(join(ROOT, path), 'utf8')

beforeAll(async () => {
  rules = rulesFile
    .parse(parse(await read('docs/deploy/alerts.yaml')))
    .groups.flatMap((group) => group.rules)
  dashboard = dashboardFile.parse(JSON.parse(await read('docs/deploy/grafana-dashboard.json')))
  places = [
    ...rules.map(({ alert, expr, annotations }) => ({
      where: alert,
      expr,
      names: `${annotations.summary} ${annotations.description}`,
    })),
    ...dashboard.panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr, legendFormat }) => ({ where: title, expr, names: legendFormat })),
    ),
  ]
  operations = await read('docs/operations.md')
  outcomes = await read('src/shared/service-metrics.ts')
  exported = parseMetrics(await metricsOfBusyService())
})

/** What a process exports that has bought, worked on an event and run jobs, with slow statements and a flag. */
async function metricsOfBusyService(): Promise<string> {
  const service = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    // No replica: its reads go to the primary, for a reason that is counted.
    DATABASE_READ_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    SLOW_STATEMENT_MS: '1',
  })
  await service.ready()
  const shop = await openShop({
    request: (method, path, options) => service.request(method, path, options),
  })
  const { secret } = stripe.fake.control.addWebhookEndpoint({
    account: shop.stripeKey,
    url: `${service.url}/webhooks/stripe/${shop.path.split('/').at(-1)}`,
  })
  await service.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
  const { id } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(id))
  await vi.waitUntil(async () => (await shop.get(id)).status === 'PAID', POLL_OPTIONS)
  await service.request('GET', `${shop.path}/purchases`)
  await adminQuery(
    database.adminConnectionString,
    `insert into purchase_flags (conference_id, purchase_id, code, fact, detail)
     values ($1, $2, 'dispute', 'dp_1', 'x')`,
    [shop.conference, id],
  )
  await addUnknownJobs()
  return vi.waitFor(async () => {
    const page = await (await fetch(`${service.url}/metrics`)).text()
    // The numbers of the database are some seconds old.
    for (const sample of ['flagged_purchases{', 'jobs{', 'processes{', 'slow_statements_total{']) {
      if (!page.includes(`sponsor_vouchers_${sample}`)) throw new Error(`No ${sample} yet`)
    }
    return page
  }, POLL_OPTIONS)
}

/** Jobs that no worker takes, since no release knows them: one waits, one has failed. */
async function addUnknownJobs(): Promise<void> {
  const sql = [
    `select graphile_worker.add_job('unknown_job')`,
    `select graphile_worker.add_job('unknown_job', job_key => 'failed')`,
    `update graphile_worker._private_jobs set attempts = max_attempts, last_error = 'no' where key = 'failed'`,
  ]
  for (const each of sql) await adminQuery(database.adminConnectionString, each)
}

/** Set by Prometheus. */
const OF_PROMETHEUS = ['instance']
/** Buckets have it. */
const OF_HISTOGRAMS = ['le']
/** Exported only with a replica, as test/cluster runs one; with this label. */
const WITH_REPLICA: Record<string, string[]> = {
  sponsor_vouchers_replica_lag_seconds: ['database'],
}

/** What this scene does not cause: a request that fails, and a process that only works or only serves. */
const ELSEWHERE = new Set(['status=5..', 'role=work', 'role=serve'])

const labelsOf = (metric: string): string[] => [
  ...(WITH_REPLICA[metric] ?? [...(exported.get(metric)?.keys() ?? [])]),
]

describe('the alerts and the dashboard', () => {
  it('are PromQL', () => {
    expect(places.length).toBeGreaterThan(40)
    expect(places.flatMap(({ expr }) => parseQuery(expr).errors)).toEqual([])
    expect(parseQuery('rate(x{a=}[5m])').errors).toHaveLength(1)
  })

  it('read only metrics that the service exports', () => {
    const missing = places.flatMap(({ where, expr }) =>
      parseQuery(expr)
        .selectors.filter(({ metric }) => !exported.has(metric) && !(metric in WITH_REPLICA))
        .map(({ metric }) => `${where}: ${metric}`),
    )
    expect(missing).toEqual([])
    expect(exported.has('sponsor_vouchers_no_such_metric')).toBe(false)
  })

  it('use only labels and values that these metrics have', () => {
    const wrong = places.flatMap(({ where, expr }) => {
      const { selectors } = parseQuery(expr)
      return selectors.flatMap(({ metric, matchers }) =>
        matchers.flatMap(({ label, values }) => {
          if (!labelsOf(metric).includes(label)) return [`${where}: ${metric} has no ${label}`]
          const isKnown = (value: string) =>
            [...(exported.get(metric)?.get(label) ?? [])].some((each) =>
              new RegExp(`^(?:${value})$`).test(each),
            ) ||
            (label === 'outcome' && outcomes.includes(`'${value}'`))
          return values
            .filter((value) => !isKnown(value) && !ELSEWHERE.has(`${label}=${value}`))
            .map((value) => `${where}: no ${metric} with ${label}="${value}"`)
        }),
      )
    })
    expect(wrong).toEqual([])
  })

  it('group and name by labels of what they read', () => {
    const wrong = places.flatMap(({ where, expr, names }) => {
      const { selectors, groupedBy } = parseQuery(expr)
      const known = new Set([
        ...OF_PROMETHEUS,
        ...OF_HISTOGRAMS,
        ...selectors.flatMap(({ metric }) => labelsOf(metric)),
      ])
      const shown = [...names.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}/g)].map(
        ([, name = '']) => name,
      )
      return [...groupedBy, ...shown]
        .filter((label) => !known.has(label))
        .map((label) => `${where}: ${label}`)
    })
    expect(wrong).toEqual([])
  })
})

it('no metric has a label that Prometheus sets itself', () => {
  for (const [metric, labels] of exported) {
    expect([metric, [...labels.keys()]]).toEqual([
      metric,
      [...labels.keys()].filter((label) => label !== 'job' && label !== 'instance'),
    ])
  }
})

it('a service that nothing serves is noticed also while workers answer Prometheus', () => {
  const { expr = '' } = rules.find(({ alert }) => alert === 'VouchersNothingServes') ?? {}
  const roles = parseQuery(expr).selectors.flatMap(({ matchers }) =>
    matchers.flatMap(({ label, values }) => (label === 'role' ? values : [])),
  )
  expect(roles.toSorted()).toEqual(['all', 'serve'])
})

it('each alert is explained in operations.md, with what to do', () => {
  for (const { alert } of rules)
    expect(operations).toMatch(new RegExp(`^\\| \`${alert}\` \\|`, 'm'))
  const explained = [...operations.matchAll(/^\| `(Vouchers\w+)` \|/gm)].map(([, alert]) => alert)
  expect(new Set(explained)).toEqual(new Set(rules.map(({ alert }) => alert)))
})

it('the dashboard asks for its data source and places each panel once', () => {
  expect(dashboard.templating.list).toMatchObject([{ name: 'datasource', type: 'datasource' }])
  const { panels } = dashboard
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  )
  expect(new Set(cells).size).toBe(cells.length)
})
