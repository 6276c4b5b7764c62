import { describe, expect, it } from 'vitest'
import { openScene, payment } from '../purchases/purchase-scene.ts'
import { unique } from '../support/fixtures.ts'
import { generator } from '../support/random.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { type Body, useTestApp } from '../support/test-app.ts'
import { DAY_MS, dayBefore, order, TODAY, WHOLE } from './money-scene.ts'

const app = useTestApp()

type IssueTimes = { source: string; count: number; p50: number; p95: number; max: number }
type IssueReport = Body & { data: (IssueTimes & { day: string })[]; totals: IssueTimes[] }

const issueTimes = async (of: Shop, query: Record<string, string> = {}) => {
  const search = new URLSearchParams({ ...WHOLE, ...query })
  const path = `${of.path}/reports/issue-times?${search.toString()}`
  return (await app.request<IssueReport>('GET', path)).body
}

/** The time that this share of the sorted times does not exceed. */
const percentile = (times: readonly number[], share: number) =>
  times.toSorted((a, b) => a - b)[Math.ceil(share * times.length) - 1]

describe('the report of issue times', () => {
  it('measures from the payment until the codes exist, and has no free codes (issue 11, line 2)', async () => {
    const of = await openShop(app)
    const card = await order(app, of, of.ticketType)
    await card.read({
      payments: [
        payment({
          paymentIntent: unique('pi'),
          attempt: null,
          chargedAt: new Date(Date.now() - 3_600_000),
        }),
      ],
    })
    const transfer = await order(app, of, of.ticketType)
    await app.request('POST', `${of.path}/purchases/${transfer.id}/mark-paid`, {
      body: {
        amount: 1_000,
        method: 'bank_transfer',
        reference: 'x',
        paid_at: new Date(Date.now() - 3 * DAY_MS).toISOString(),
      },
    })
    const free = await openScene(app.db, { conferenceId: of.conference, unitAmount: 0 })
    await of.act(free.ref.purchaseId, 'approve', {})
    const { data, totals } = await issueTimes(of)
    expect(totals).toMatchObject([
      { source: 'recorded', count: 1 },
      { source: 'stripe', count: 1 },
    ])
    expect(data.map(({ source }) => source)).toEqual(['recorded', 'stripe'])
    const [recorded, byCard] = totals
    expect(Math.floor((recorded?.p50 ?? 0) / 86_400)).toBe(3)
    expect(Math.floor((byCard?.p50 ?? 0) / 3_600)).toBe(1)
  })

  it('has the percentiles of each day and of the whole time', async () => {
    const of = await openShop(app)
    const random = generator(5)
    const taken: { day: string; seconds: number }[] = []
    for (let n = 0; n < 45; n += 1) {
      const day = dayBefore(1 + (n % 3))
      const seconds = Math.floor(random() ** 3 * 900)
      const { ref } = await openScene(app.db, { conferenceId: of.conference, attempts: 0 })
      await app.rows(
        `insert into voucher_issue_times (conference_id, purchase_id, source, paid_at, issued_at)
         values ($1, $2, 'stripe', $3::timestamptz, $3::timestamptz + $4 * interval '1 second')`,
        [of.conference, ref.purchaseId, `${day}T23:59:59Z`, seconds],
      )
      taken.push({ day, seconds })
    }
    const expected = (times: number[]) => ({
      source: 'stripe',
      count: times.length,
      p50: percentile(times, 0.5),
      p95: percentile(times, 0.95),
      max: Math.max(...times),
    })
    const { data, totals } = await issueTimes(of)
    expect(totals).toEqual([expected(taken.map(({ seconds }) => seconds))])
    const days = [...new Set(taken.map(({ day }) => day))].toSorted()
    expect(data).toEqual(
      days.map((day) => ({
        day,
        ...expected(taken.filter((one) => one.day === day).map(({ seconds }) => seconds)),
      })),
    )
    expect((await issueTimes(of, { from: TODAY })).totals).toEqual([])
  })
})
