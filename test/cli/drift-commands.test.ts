import { beforeEach, describe, expect, it } from 'vitest'
import { useDriftScene } from '../mirror/drift/drift-scene.ts'
import { createConference } from '../support/fixtures.ts'
import type { Shop } from '../support/shop.ts'

const drift = useDriftScene()
const { scene, cli, paid, sync } = drift

let shop: Shop
beforeEach(async () => {
  shop = await drift.deafShop()
})

const run = (...args: string[]) => cli.run(['drift', '--conference', shop.conference, ...args])

/** The conferences of an answer, without those of other tests. */
async function conferencesOf(args: readonly string[]): Promise<string[]> {
  const { stdout } = await cli.run([...args, '--json'])
  const { data } = JSON.parse(stdout) as { data: { conference: string }[] }
  return data.map(({ conference }) => conference)
}

describe('drift', () => {
  it('exits with 0 if nothing differs', async () => {
    await paid(shop)
    await sync(shop)
    const { stdout, ...ran } = await run()
    expect(ran).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout).toBe(`${shop.conference}\nNo differences.\n`)
    const { stdout: read } = await run('--live')
    expect(read).toBe(`${shop.conference}\nNo differences. 1 purchase read from Stripe.\n`)
  })

  it('prints a table with a repair command for each line, and exits with 1', async () => {
    const { id, payment } = await paid(shop)
    await sync(shop)
    await scene.rows(`update payments set status = 'processing' where purchase_id = $1`, [id])
    const { exitCode, stdout, stderr } = await run()
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: 'error: Found one difference. (drift_found)\n',
    })
    const [, head, line, sums] = stdout.split('\n')
    expect(head).toMatch(/^KIND +WHAT +PURCHASE +STRIPE ID +FIELD +HERE +THERE +REPAIR$/)
    const command = `npx sponsor-vouchers purchases:reconcile ${id} --conference ${shop.conference}`
    expect(line?.split(/ {2,}/)).toEqual([
      'different',
      'payment',
      id,
      payment,
      'status',
      'processing',
      'succeeded',
      command,
    ])
    expect(sums).toBe('0 missing, 0 extra, 1 different.')
  })

  it('first lists resources that were never synced, with a command to sync them', async () => {
    const { payment } = await paid(shop)
    await scene.rows('delete from stripe.payment_intents where id = $1', [payment])
    const { stdout, exitCode } = await run()
    expect(exitCode).toBe(1)
    expect(stdout).toContain(
      'Not compared reliably, because a full sync has never run: payment intents',
    )
    expect(stdout).toContain(
      `\n  npx sponsor-vouchers sync payment-intents --conference ${shop.conference}\n`,
    )
  })

  it('prints a JSON document with --json, by default of all conferences', async () => {
    const { id } = await paid(shop)
    const other = await drift.deafShop()
    expect(await conferencesOf(['drift'])).toEqual(
      expect.arrayContaining([shop.conference, other.conference]),
    )
    const one = await cli.json<{ data: unknown[] }>(['drift', '--purchase', id])
    expect(one.data).toMatchObject([
      {
        conference: shop.conference,
        summary: { missing: 0, extra: 0, different: 0 },
        mirror: { payment_intents: { synced_at: null } },
        purchases_read: null,
        has_more: false,
        lines: [],
      },
    ])
  })

  it('prints up to the limit and counts all lines', async () => {
    for (let count = 0; count < 3; count += 1) await paid(shop)
    await scene.rows('delete from stripe.payment_intents where conference_id = $1', [
      shop.conference,
    ])
    const { stdout, stderr } = await run('--limit', '2')
    expect(stdout.match(/^missing/gm)).toHaveLength(2)
    expect(stdout).toContain('3 missing, 0 extra, 0 different. The first 2 lines are shown.')
    expect(stderr).toContain('3 differences.')
  })

  it('skips conferences without a Stripe key with --live, unless one is named', async () => {
    const keyless = await createConference(scene, { stripe_secret_key: undefined })
    const named = await cli.run(['drift', '--live', '--conference', keyless.id, '--json'])
    expect(named.exitCode).toBe(1)
    expect(JSON.parse(named.stderr)).toMatchObject({ code: 'stripe_key_missing' })
    const conferences = await conferencesOf(['drift', '--live'])
    expect(conferences).toContain(shop.conference)
    expect(conferences).not.toContain(keyless.id)
  })

  it.each([
    [['--since', 'yesterday'], '--since'],
    [['--limit', '0'], '--limit'],
    [['--colour'], '--colour'],
  ])('refuses %j', async (args, option) => {
    const { exitCode, stderr } = await run(...args)
    expect(exitCode).toBe(2)
    expect(stderr).toContain(option)
  })

  it('of an unknown purchase or conference is not found', async () => {
    for (const args of [
      ['--purchase', 'bp_none'],
      ['--conference', 'nowhere'],
    ]) {
      const { exitCode, stderr } = await cli.run(['drift', ...args])
      expect(exitCode).toBe(1)
      expect(stderr).toContain('(not_found)')
    }
  })
})

describe('purchases:reconcile --payment-intent', () => {
  it('needs exactly one purchase', async () => {
    for (const args of [['--stuck'], ['bp_1', 'bp_2']]) {
      const ran = await cli.run(['purchases:reconcile', ...args, '--payment-intent', 'pi_1'])
      expect(ran.exitCode).toBe(2)
    }
  })

  it('refuses a payment of another purchase', async () => {
    const { payment } = await paid(shop)
    const { id } = await shop.buy()
    await cli.run(['purchases:reconcile', id, '--payment-intent', payment])
    expect(await shop.get(id)).toMatchObject({ status: 'PENDING', amount_received: 0 })
  })
})
