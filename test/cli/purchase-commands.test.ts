import { beforeAll, describe, expect, it } from 'vitest'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

type Page = { data: PurchaseAnswer[] }
type Shown = PurchaseAnswer & { transitions: { event: string; to: string }[] }
type Reconciled = {
  data: { id: string; before: string; after: string; problem: { code: string } | null }[]
}

/** A paid purchase whose webhook is missing. */
async function paidUnheard(of: Shop = shop): Promise<string> {
  const { id } = await of.buy()
  stripe.fake.control.pay(await of.openSession(id))
  return id
}

describe('the list of purchases', () => {
  it('has the filters and the answer of the API', async () => {
    const { path } = shop
    const waiting = await shop.buy({ quantity: 7, reference: 'PO-77' })
    await shop.openSession(waiting.id)
    const filter = ['--conference', shop.conference, '--q', 'PO-77', '--status', 'PROCESSING']
    const found = await cli.json<Page>(['purchases:list', ...filter])
    const query = 'q=PO-77&status=PROCESSING'
    expect(found).toEqual((await app.request('GET', `${path}/purchases?${query}`)).body)
    expect(found.data.map(({ id }) => id)).toEqual([waiting.id])
    const none = await cli.json<Page>(['purchases:list', ...filter, '--sponsor', 'somebody-else'])
    expect(none.data).toEqual([])
  })

  it('is a table for people, with names instead of ids (issue 10, line 10)', async () => {
    const made = await shop.buy({ quantity: 3 })
    const { id } = made
    const { stdout } = await cli.run(['purchases:list', '--conference', shop.conference])
    const line = stdout.split('\n').find((text) => text.startsWith(id))
    expect(stdout).toMatch(/^ID +STATUS +SPONSOR +TICKET +QTY +TOTAL/)
    const names = `${String(made['sponsor_name'])} +${String(made['ticket_name'])}`
    expect(line).toMatch(new RegExp(`PENDING +${names} +3 +30\\.00 EUR`))
  })

  it('is the same file as from the API with --csv (issue 10, line 10)', async () => {
    await shop.buy({ quantity: 3, reference: 'PO-CSV' })
    const { body } = await app.request<string>('GET', `${shop.path}/purchases?q=PO-CSV`, {
      headers: { accept: 'text/csv' },
    })
    const list = ['purchases:list', '--conference', shop.conference, '--q', 'PO-CSV', '--csv']
    const { stdout } = await cli.run(list)
    expect(stdout).toBe(body)
    expect(stdout.split('\n')).toHaveLength(3)
  })

  it('is that of all conferences without --conference, also by a code (issue 10, line 10)', async () => {
    const other = await openShop(app)
    const id = await paidUnheard(other)
    await other.act(id, 'reconcile')
    const [code = ''] = await other.codes(id)
    const { stdout } = await cli.run(['purchases:list', '--q', code])
    expect(stdout).toMatch(/^CONFERENCE +ID +STATUS/)
    expect(stdout).toMatch(new RegExp(`^${other.path.split('/').at(-1)} +${id} +PAID`, 'm'))
    const all = await cli.json<Page>(['purchases:list'])
    expect(all).toEqual((await app.request('GET', '/v1/purchases')).body)
  })

  it('removes control characters from texts of sponsors', async () => {
    await shop.buy({ reference: 'x', quantity: 5 })
    await app.rows(`update bulk_purchases set description = $1 where quantity = 5`, [
      'nice\u001b[2J\u0007\nbp_forged PAID',
    ])
    const { stdout } = await cli.run(['purchases:list', '--conference', shop.conference])
    expect(stdout).toContain('nice [2J bp_forged PAID')
    // oxlint-disable-next-line no-control-regex -- that is what must not be there
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
  })
})

describe('a purchase is shown', () => {
  it('with its checkout and its history, from any conference', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const shown = await cli.json<Shown>(['purchases:show', id])
    const { transitions, ...purchase } = shown
    expect(purchase).toEqual(await shop.get(id))
    expect(transitions).toMatchObject([{ event: 'CHECKOUT_OPENED', to: 'PROCESSING' }])
    const { stdout } = await cli.run(['purchases:show', id])
    expect(stdout).toMatch(/^id +bp_/)
    expect(stdout).toContain(session)
    expect(stdout).toMatch(/CHECKOUT_OPENED +PENDING +PROCESSING +- +sponsor sponsor-\d+ +checkout/)
  })

  it('without its codes', async () => {
    const id = await paidUnheard()
    const outputs = [
      await cli.run(['purchases:reconcile', id]),
      await cli.run(['purchases:show', id]),
      await cli.run(['purchases:show', id, '--json']),
    ]
    const text = outputs.map(({ stdout, stderr }) => stdout + stderr).join('')
    const codes = await shop.codes(id)
    expect(codes).toHaveLength(10)
    expect(codes.filter((code) => text.includes(code))).toEqual([])
    expect(text).toContain('10 issued')
  })

  it('only in its own conference', async () => {
    const other = await openShop(app)
    const { id } = await shop.buy()
    const { exitCode, stderr } = await cli.run([
      'purchases:show',
      id,
      '--conference',
      other.conference,
      '--json',
    ])
    expect(exitCode).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ code: 'not_found', status: 404 })
  })
})

describe('reconciling', () => {
  it('makes a purchase PAID whose webhook is missing, and records the actor', async () => {
    const id = await paidUnheard()
    const { data } = await cli.json<Reconciled>(['purchases:reconcile', id])
    expect(data).toMatchObject([{ id, before: 'PROCESSING', after: 'PAID', problem: null }])
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    const { stdout } = await cli.run(['purchases:show', id])
    expect(stdout).toMatch(
      /PAYMENT_SUCCEEDED +PROCESSING +PAID +- +operator Command line +reconcile/,
    )
  })

  it('issues missing codes of a paid purchase', async () => {
    const id = await paidUnheard()
    await cli.json(['purchases:reconcile', id])
    await app.rows(
      `delete from vouchers v using voucher_batches b
       where b.id = v.batch_id and b.purchase_id = $1 and v.ordinal > 6`,
      [id],
    )
    const { stdout } = await cli.run(['purchases:reconcile', id])
    expect(stdout).toMatch(/PAID +PAID +100\.00 EUR +10/)
    expect(await shop.codes(id)).toHaveLength(10)
  })

  it('of all stuck purchases leaves none PROCESSING', async () => {
    const other = await openShop(app)
    const ids = [await paidUnheard(other), await paidUnheard(other)]
    const stuck = ['purchases:reconcile', '--stuck', '--conference', other.conference]
    const { data } = await cli.json<Reconciled>(stuck)
    expect(new Set(data.map(({ id }) => id))).toEqual(new Set(ids))
    expect(data.map(({ after }) => after)).toEqual(['PAID', 'PAID'])
    expect(await cli.run(stuck)).toMatchObject({
      exitCode: 0,
      stdout: 'No purchase is PROCESSING.\n',
    })
  })

  it('continues after a failed fetch, and then fails', async () => {
    const broken = await openShop(app)
    const ids = [await paidUnheard(broken), await paidUnheard()]
    stripe.fake.control.revokeKey(broken.stripeKey)
    const { exitCode, stdout, stderr } = await cli.run(['purchases:reconcile', ...ids, '--json'])
    expect(exitCode).toBe(1)
    expect((JSON.parse(stdout) as Reconciled).data).toMatchObject([
      { id: ids[0], after: null, problem: { status: expect.any(Number) } },
      { id: ids[1], after: 'PAID', problem: null },
    ])
    expect(JSON.parse(stderr)).toMatchObject({
      detail: '1 of 2 purchases could not be reconciled.',
    })
    expect(await broken.get(ids[0] ?? '')).toMatchObject({ status: 'PROCESSING' })
  })
})
