import { beforeAll, describe, expect, it } from 'vitest'
import { openShop, type Shop } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli } = useCliOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

type Made = Body & { id: string }
type List = { data: Made[] }

const here = (...args: string[]) => [...args, '--conference', shop.conference]

describe('what a conference offers', () => {
  it('is a ticket type or an add-on, with the same commands', async () => {
    for (const noun of ['ticket-types', 'add-ons']) {
      const args = ['--name', 'Lunch', '--price', '2500', '--bulk-enabled']
      const { id } = await cli.json<Made>(here(`${noun}:create`, ...args))
      const change = here(`${noun}:update`, id, '--price', '3000', '--no-bulk-enabled')
      expect((await cli.run(change)).stdout).toMatch(/price +30\.00 EUR\n.* no\n/)
      const { body } = await app.request('GET', `${shop.path}/${noun}/${id}`)
      expect(body).toMatchObject({ name: 'Lunch', price: 3_000, bulk_enabled: false })
      const { stdout } = await cli.run(here(`${noun}:list`))
      expect(stdout).toMatch(new RegExp(`${id} +Lunch +30\\.00 EUR +no`))
    }
    expect(await cli.run(here('add-ons:update', 'add_unknown', '--price', '1'))).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('not_found'),
    })
  })

  it('has levels, whose sponsors get complimentary vouchers', async () => {
    const level = await cli.json<Made>(
      here('sponsor-levels:create', '--name', 'Gold', '--comp-ticket-count', '2'),
    )
    expect(level).toMatchObject({ slug: 'gold', comp_ticket_count: 2 })
    expect((await cli.run(here('sponsor-levels:list'))).stdout).toMatch(/gold +Gold +2\n/)
    const { id } = await cli.json<Made>(here('sponsors:create', '--name', 'Au', '--level', 'gold'))
    const { data } = await cli.json<List>(here('voucher-batches:list'))
    expect(data[0]).toMatchObject({ source: 'comp', sponsor: id, count: 2 })
  })
})

describe('a voucher batch', () => {
  it('is issued without a purchase, and published as promotion codes', async () => {
    const terms = ['--count', '2', '--voucher-type', 'percentage', '--discount-value', '10']
    const { id } = await cli.json<Made>(here('voucher-batches:create', ...terms))
    expect(await cli.run(here('voucher-batches:publication', id))).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('never published'),
    })
    const published = await cli.run(here('voucher-batches:publish', id))
    expect(published.stdout).toMatch(/state +running\n[^]*published +0 of 2\nwaiting +2\n/)
    const path = `${shop.path}/voucher-batches/${id}/publication`
    expect(await cli.json(here('voucher-batches:publication', id))).toEqual(
      (await app.request('GET', path)).body,
    )
    const jobs = await app.rows('select from graphile_worker.jobs where key = $1', [
      `align_promotion_codes:${id}`,
    ])
    expect(jobs).toHaveLength(1)
  })

  it('of one ticket type is published only for named products or for all', async () => {
    const terms = ['--count', '1', '--voucher-type', 'comp', '--ticket-type', shop.ticketType]
    const { id } = await cli.json<Made>(here('voucher-batches:create', ...terms))
    expect(await cli.run(here('voucher-batches:publish', id))).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('products'),
    })
    const published = await cli.json(here('voucher-batches:publish', id, '--all-products'))
    expect(published).toMatchObject({ batch: id, state: 'running', total: 1 })
  })

  it('is refused with the name of the option that is wrong', async () => {
    const args = ['voucher-batches:create', '--count', '0', '--voucher-type', 'percentage']
    const ran = await cli.run(here(...args))
    expect(ran).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--count') })
  })
})

describe('a webhook endpoint', () => {
  it('is added, changed, disabled and deleted', async () => {
    const url = 'https://portal.example/hooks'
    const types = ['--event-type', 'purchase.paid', 'vouchers.issued']
    const made = await cli.json<Made>(here('webhook-endpoints:create', '--url', url, ...types))
    expect(made['secret']).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const run = (command: string, ...args: string[]) =>
      cli.run(here(`webhook-endpoints:${command}`, made.id, ...args))
    expect((await run('update', '--all-events', '--no-enabled')).stdout).toMatch(
      /events +all\nstate +disabled by staff\n/,
    )
    const list = await cli.run(here('webhook-endpoints:list'))
    expect(list.stdout).toMatch(/portal\.example\/hooks +all +disabled by staff/)
    expect(list.stdout).not.toContain('whsec_')
    expect((await run('update', '--enabled')).stdout).toMatch(/state +enabled/)
    const rotated = await run('rotate-secret', '--overlap-seconds', '60')
    expect(rotated.stdout).toMatch(/secret +whsec_[A-Za-z0-9+/]{43}=/)
    expect(rotated.stdout).not.toContain(String(made['secret']))
    expect(await run('delete')).toMatchObject({ exitCode: 0, stdout: `Deleted ${made.id}.\n` })
    expect(await run('delete')).toMatchObject({ exitCode: 1 })
  })

  it('on this machine is refused unless a setting allows it', async () => {
    const args = here('webhook-endpoints:create', '--url', 'http://127.0.0.1:9/hooks')
    expect(await cli.run(args)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--url must begin with https://'),
    })
    const env = { WEBHOOKS_ALLOW_LOOPBACK: 'true' }
    expect(await cli.run(args, { env })).toMatchObject({ exitCode: 0 })
  })

  it('lists its deliveries and sends a failed one again', async () => {
    const { id } = await cli.json<Made>(
      here('webhook-endpoints:create', '--url', 'https://portal.example/hooks'),
    )
    await cli.json(here('voucher-batches:create', '--count', '1', '--voucher-type', 'comp'))
    const deliveries = () => cli.json<List>(here('webhook-endpoints:deliveries', id))
    const { data } = await deliveries()
    expect(data).toMatchObject([{ state: 'pending', payload: { type: 'vouchers.issued' } }])
    const replay = here('webhook-endpoints:replay', id, String(data[0]?.id))
    expect(await cli.run(replay)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('wrong_state'),
    })
    await app.rows(
      `update webhook_deliveries set state = 'failed', finished_at = now(), next_attempt_at = null`,
    )
    expect((await cli.run(replay)).stdout).toBe(`Sending ${data[0]?.id} again.\n`)
    const again = await cli.run(here('webhook-endpoints:deliveries', id, '--state', 'pending'))
    expect(again.stdout).toMatch(/vouchers\.issued +pending/)
  })
})

describe('the data of a sponsor', () => {
  it('is exported and erased, like by the API', async () => {
    const email = 'zoe@plume.example'
    const { id } = await cli.json<Made>(
      here('sponsors:create', '--name', 'Plume Pens', '--email', email),
    )
    const exported = await cli.run(here('privacy:export', '--email', email))
    expect(exported.stdout).toMatch(/sponsors +1\n/)
    const erase = (confirm: string) =>
      cli.run(here('privacy:erase', '--sponsor', 'plume-pens', '--confirm', confirm))
    expect(await erase('yes')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--confirm must repeat'),
    })
    expect((await erase('plume-pens')).stdout).toMatch(/state +done\n[^]*sponsors +1\n/)
    const { body } = await app.request('GET', `${shop.path}/sponsors/${id}`)
    expect(body).toMatchObject({ name: 'Erased sponsor', contact_email: null })
    expect((await cli.run(here('privacy:export', '--email', email))).stdout).toBe(
      'Nothing is stored.\n',
    )
  })
})
