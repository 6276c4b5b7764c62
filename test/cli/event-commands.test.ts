import { describe, expect, it } from 'vitest'
import { openShop, type Shop } from '../support/shop.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

type Event = { id: string; type: string; status: string; source: string; last_error: string | null }

const listed = async (shop: Shop, ...filter: string[]) => {
  const args = ['events:list', '--conference', shop.conference, '--limit', '100', ...filter]
  return (await cli.json<{ data: Event[] }>(args)).data
}

/** A shop whose purchase was paid while our webhook endpoint was gone. */
async function shopWithMissedEvents(): Promise<Shop> {
  const shop = await openShop(app)
  const { id } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(id))
  return shop
}

const findMissed = (shop: Shop) => ['events:find-missed', '--conference', shop.conference]

/** The same, with the events found and failed for good. */
async function shopWithFailedEvents(): Promise<{ shop: Shop; failed: Event[] }> {
  const shop = await shopWithMissedEvents()
  await cli.json(findMissed(shop))
  await app.rows(
    `update stripe_events set status = 'failed', finished_at = now(), attempts = 12,
       last_error = 'Stripe cannot be reached'
     where conference_id = $1 and status = 'pending'`,
    [shop.conference],
  )
  return { shop, failed: await listed(shop, '--status', 'failed') }
}

describe('missed events', () => {
  it('are stored once, and wait for a worker', async () => {
    const shop = await shopWithMissedEvents()
    type Found = { data: { conference: string; listed: number; missing: number }[] }
    const first = await cli.json<Found>(findMissed(shop))
    const [line] = first.data
    expect(line).toMatchObject({ conference: shop.conference, listed: expect.any(Number) })
    expect(line?.missing).toBeGreaterThan(0)
    const pending = await listed(shop, '--status', 'pending')
    expect(pending).toHaveLength(line?.missing ?? 0)
    expect(pending.map(({ type }) => type)).toContain('checkout.session.completed')
    expect(pending.map(({ source }) => source)).not.toContain('webhook')
    const again = await cli.json<Found>(findMissed(shop))
    expect(again.data).toMatchObject([{ missing: 0 }])
  })

  it('are searched in every conference with a key; others are skipped', async () => {
    const shop = await shopWithMissedEvents()
    const keyless = await app.request<{ id: string }>('POST', '/v1/conferences', {
      body: { slug: 'keyless', name: 'Keyless', currency: 'EUR' },
    })
    const { exitCode, stdout } = await cli.run(['events:find-missed'])
    expect(exitCode).toBe(0)
    expect(stdout).toContain(shop.conference)
    expect(stdout).not.toContain(keyless.body.id)
    const one = await cli.run(['events:find-missed', '--conference', 'keyless'])
    expect(one).toMatchObject({
      exitCode: 1,
      stdout: expect.stringContaining('stripe_key_missing'),
    })
  })

  it('make the command exit with 1 if Stripe cannot be read', async () => {
    const shop = await shopWithMissedEvents()
    stripe.fake.control.revokeKey(shop.stripeKey)
    const { exitCode, stdout, stderr } = await cli.run([...findMissed(shop), '--json'])
    expect(exitCode).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ data: [{ missing: null, problem: {} }] })
    expect(JSON.parse(stderr)).toMatchObject({ code: 'stripe_failed' })
    expect(await listed(shop)).toEqual([])
  })
})

describe('failed events', () => {
  it('are listed with their errors', async () => {
    const { shop, failed } = await shopWithFailedEvents()
    const args = ['events:list', '--conference', shop.conference, '--status', 'failed']
    const { stdout } = await cli.run(args)
    expect(failed.length).toBeGreaterThan(1)
    for (const { id, type } of failed) expect(stdout).toMatch(new RegExp(`${id} +${type} +failed`))
    expect(stdout).toContain('Stripe cannot be reached')
  })

  it('are replayed by id, in any conference', async () => {
    const { shop, failed } = await shopWithFailedEvents()
    const id = failed[0]?.id ?? ''
    const { data } = await cli.json<{ data: Event[] }>(['events:replay', id])
    expect(data).toMatchObject([{ id, status: 'pending', source: 'replay' }])
    expect(await listed(shop, '--status', 'failed')).toHaveLength(failed.length - 1)
    const again = await cli.run(['events:replay', id, '--json'])
    expect(again.exitCode).toBe(1)
    expect(JSON.parse(again.stderr)).toMatchObject({ code: 'wrong_state' })
  })

  it('are replayed together, in one conference or in all', async () => {
    const [one, two] = [await shopWithFailedEvents(), await shopWithFailedEvents()]
    const only = ['events:replay', '--failed', '--conference', one.shop.conference]
    expect(await cli.json(only)).toEqual({ replayed: one.failed.length })
    expect(await listed(two.shop, '--status', 'failed')).toHaveLength(two.failed.length)
    await cli.json(['events:replay', '--failed'])
    expect(await listed(two.shop, '--status', 'failed')).toEqual([])
    expect(await cli.json(['events:replay', '--failed'])).toEqual({ replayed: 0 })
  })
})
