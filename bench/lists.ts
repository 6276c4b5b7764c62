import { compareRounds, type Figure } from './compare.ts'
import { type Size, seedConference } from './many-rows.ts'
import { ROOT } from './other-version.ts'
import { startServiceProcess } from './processes.ts'

export type ListBenchOptions = {
  connectionString: string
  adminConnectionString: string
  onEnd: (undo: () => Promise<unknown>) => void
  /** Of the large conference. */
  size?: Size
  /** Of each figure; one more warms up. */
  rounds?: number
}

const SMALL: Size = {
  purchases: 1_000,
  detailed: 1_000,
  reported: 1_000,
  searchable: 1_000,
  batches: 50,
  vouchersPerBatch: 40,
}
const LARGE: Size = {
  purchases: 500_000,
  detailed: 20_000,
  reported: 500_000,
  searchable: 500_000,
  batches: 50_000,
  vouchersPerBatch: 40,
}

const YEAR_AGO = new Date(Date.now() - 365 * 86_400_000).toISOString().slice(0, 10)

/** Each request, how many are in a round, and how many milliseconds one may take. */
const REQUESTS = [
  { work: 'page of 50 purchases', query: 'purchases?limit=50', requests: 20, ms: 8 },
  { work: 'q= a reference', query: 'purchases?limit=50&q=PO-1000300', requests: 10, ms: 20 },
  {
    work: 'q= a word of every 20th',
    query: 'purchases?limit=50&q=ticket%207',
    requests: 10,
    ms: 20,
  },
  { work: 'q= a part of every 150th id', query: 'purchases?limit=50&q=a5f', requests: 10, ms: 20 },
  { work: 'q= a sponsor', query: 'purchases?limit=50&q=sponsor%20777', requests: 10, ms: 20 },
  { work: 'q= found nowhere', query: 'purchases?limit=50&q=found-nowhere', requests: 10, ms: 20 },
  { work: 'flag=dispute', query: 'purchases?limit=50&flag=dispute', requests: 10, ms: 10 },
  { work: 'flag=any', query: 'purchases?limit=50&flag=any', requests: 10, ms: 10 },
  { work: 'report of vouchers by status', query: 'reports/vouchers', requests: 2, ms: 300 },
  { work: 'the same by day', query: 'reports/vouchers?group_by=day', requests: 2, ms: 300 },
  { work: 'report of purchases by status', query: 'reports/purchases', requests: 2, ms: 300 },
  { work: 'the same by day', query: 'reports/purchases?group_by=day', requests: 2, ms: 300 },
  {
    work: 'report of money by day and ticket',
    query: `reports/money?group_by=day_and_item&from=${YEAR_AGO}`,
    requests: 2,
    ms: 300,
  },
  {
    work: 'report of issue times',
    query: `reports/issue-times?from=${YEAR_AGO}`,
    requests: 2,
    ms: 300,
  },
] as const

/**
 * Lists and reports over HTTP: a conference with 500,000 purchases and 2 million vouchers against one with
 * 1,000 purchases in the same database. One request is in flight.
 */
export async function benchLists(options: ListBenchOptions): Promise<Figure[]> {
  const { connectionString, onEnd, rounds = 5, size = LARGE } = options
  const admin = new URL(options.adminConnectionString)
  admin.pathname = new URL(connectionString).pathname
  await seedConference(admin.href, 'conf_small', SMALL)
  await seedConference(admin.href, 'conf_large', size)
  const service = await startServiceProcess(
    ROOT,
    // No request reaches Stripe.
    { DATABASE_URL: connectionString, STRIPE_API_BASE: 'http://127.0.0.1:9' },
    onEnd,
  )

  const headers = { authorization: `Bearer ${service.operatorKey}` }
  const milliseconds = async (path: string, requests: number) => {
    const begun = performance.now()
    for (let request = 0; request < requests; request += 1) {
      const answer = await fetch(`${service.url}/v1/conferences/${path}`, { headers })
      const body = await answer.text()
      if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${body}`)
    }
    return (performance.now() - begun) / requests
  }
  const figures: Figure[] = []
  for (const { work, query, requests, ms } of REQUESTS) {
    const compared = await compareRounds(
      () => milliseconds(`conf_large/${query}`, requests),
      () => milliseconds(`conf_small/${query}`, requests),
      rounds,
    )
    figures.push({
      work,
      against: '1,000 purchases',
      unit: 'ms',
      aim: { oursAtMost: ms },
      ...compared,
    })
  }
  return figures
}
