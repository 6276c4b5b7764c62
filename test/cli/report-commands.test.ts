import { beforeAll, describe, expect, it } from 'vitest'
import { openShop, type Shop } from '../support/shop.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
  const { id } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(id))
  await shop.act(id, 'reconcile')
  await shop.act(id, 'refund', { amount: 2_000 })
})

describe('the report of money', () => {
  const command = () => ['reports:money', '--conference', shop.conference]

  it('is the answer of the API as JSON and as CSV', async () => {
    const url = `${shop.path}/reports/money?group_by=day_and_item`
    const grouped = [...command(), '--group-by', 'day_and_item']
    expect(await cli.json(grouped)).toEqual((await app.request('GET', url)).body)
    const { body } = await app.request<string>('GET', url, { headers: { accept: 'text/csv' } })
    expect((await cli.run([...grouped, '--csv'])).stdout).toBe(body)
  })

  it('is a table for people with a total', async () => {
    const { stdout } = await cli.run(command())
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^DAY \(UTC\) +PAYMENTS +RECEIVED +REFUNDED +LOST +NET$/)
    const sums = '1 +100\\.00 EUR +20\\.00 EUR +0\\.00 EUR +80\\.00 EUR'
    expect(lines.slice(1)).toEqual([
      expect.stringMatching(new RegExp(`^\\d{4}-\\d\\d-\\d\\d +${sums}$`)),
      expect.stringMatching(new RegExp(`^total +${sums}$`)),
    ])
    const byTicket = await cli.run([...command(), '--group-by', 'item'])
    expect(byTicket.stdout).toMatch(/^TICKET +PAYMENTS/)
    const none = await cli.run([...command(), '--from', '2020-01-01', '--to', '2020-01-31'])
    expect(none.stdout).toBe('None.\n')
  })
})

describe('the statement of a sponsor', () => {
  const command = () => ['sponsors:statement', shop.sponsorSlug, '--conference', shop.conference]

  it('is the answer of the API as JSON and as CSV', async () => {
    const url = `${shop.path}/sponsors/${shop.sponsor}/statement`
    expect(await cli.json(command())).toEqual((await app.request('GET', url)).body)
    const { body } = await app.request<string>('GET', url, { headers: { accept: 'text/csv' } })
    expect((await cli.run([...command(), '--csv'])).stdout).toBe(body)
  })

  it('is a table for people, from the opening to the closing balance', async () => {
    const { stdout } = await cli.run(command())
    const [head, opening, ...entries] = stdout.trimEnd().split('\n')
    expect(head).toMatch(/^DATE \(UTC\) +TYPE +ORDER +REFERENCE +AMOUNT +BALANCE$/)
    expect(opening).toMatch(/opening balance .* 0\.00 EUR$/)
    expect(
      entries.map((line) => / (\w+) +bp_\S+.* (-?[\d.]+) EUR +\S+ EUR$/.exec(line)?.slice(1)),
    ).toEqual([
      ['order', '100.00'],
      ['payment', '-100.00'],
      ['refund', '20.00'],
      ['credit', '-20.00'],
      undefined,
    ])
    expect((await cli.run([...command(), '--to', '2020-01-01'])).stdout).toBe('None.\n')
  })

  it('names the option whose day does not exist', async () => {
    const { exitCode, stderr } = await cli.run([...command(), '--from', 'yesterday'])
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('from'),
    })
  })
})

describe('a payout', () => {
  it('is listed and reconciled as by the API', async () => {
    const { id, amount } = stripe.fake.control.payOut(shop.stripeKey, 'eur')
    const of = ['--conference', shop.conference]
    const api = async (page: string, accept = 'application/json') =>
      (await app.request('GET', `${shop.path}/reports/${page}`, { headers: { accept } })).body
    expect(await cli.json(['payouts:list', ...of])).toEqual(await api('payouts'))
    expect(await cli.json(['payouts:show', id, ...of])).toEqual(await api(`payouts/${id}`))
    const csv = await cli.run(['payouts:show', id, ...of, '--csv'])
    expect(csv.stdout).toBe(await api(`payouts/${id}`, 'text/csv'))
    const list = await cli.run(['payouts:list', ...of, '--csv'])
    expect(list.stdout).toBe(await api('payouts', 'text/csv'))
    const net = `${Math.floor(amount / 100)}.${String(amount % 100).padStart(2, '0')} EUR`
    const shown = await cli.run(['payouts:show', id, ...of])
    expect(shown.stdout).toMatch(/reconciliation +agrees/)
    expect(shown.stdout).toMatch(new RegExp(`all +2 .* ${net}\\n`))
    expect((await cli.run(['payouts:list', ...of])).stdout).toMatch(new RegExp(`${id} .*${net}`))
    expect(await cli.run(['payouts:show', 'ch_1', ...of])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('<payout> must be the id of a payout at Stripe (po_…)'),
    })
  })
})
