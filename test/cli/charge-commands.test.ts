import { beforeEach, describe, expect, it } from 'vitest'
import { type ChargeScene, openChargeScene } from '../billing/charges/charge-scene.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

let shop: Shop
let scene: ChargeScene
beforeEach(async () => {
  stripe.fake.control.clearFaults()
  shop = await openShop(app)
  scene = await openChargeScene(app, stripe, shop)
})

const CREATE_INTENT = { method: 'POST', path: '/v1/payment_intents', times: 'always' } as const

const args = (...more: string[]) => ['charges:run', '--conference', shop.conference, ...more]

describe('charges:run', () => {
  it('charges open charges that are not manual, with a line each and a summary', async () => {
    scene.save()
    const charges = [await scene.create(), await scene.create({ amount: 500 })]
    const manual = await scene.create({ manual: true })
    const dry = await cli.run(args('--dry-run'))
    expect(dry).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('2 waiting') })
    const { exitCode, stdout, stderr } = await cli.run(args())
    expect(exitCode).toBe(0)
    expect(stderr).toContain(`1/2 ${charges[0]?.id ?? ''} 12.34 EUR succeeded`)
    expect(stdout).toContain('2 paid (17.34 EUR), 0 failed, 0 waiting')
    expect(await scene.get(manual.id)).toMatchObject({ status: 'open', attempts: 0 })
    const again = await cli.run(args())
    expect(again).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('0 paid, 0 failed'),
    })
  })

  it('F8: exits with 1 if some failed, charges the others, and does not retry declined ones', async () => {
    scene.save()
    const bad = scene.save('pm_card_chargeCustomerFail')
    const declined = await scene.create({ payment_method: bad })
    const good = await scene.create()
    const { exitCode, stdout } = await cli.run([...args(), '--json'])
    expect(exitCode).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      data: [
        { id: declined.id, outcome: 'failed', charge: { status: 'declined' } },
        { id: good.id, outcome: 'paid', charge: { status: 'succeeded' } },
      ],
      summary: { paid: 1, failed: 1, amounts: { EUR: 1_234 } },
    })
    const again = await cli.run(args())
    expect(again).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('0 paid, 0 failed'),
    })
    expect(await scene.get(declined.id)).toMatchObject({ attempts: 1 })
  })

  it('F9: reports a sponsor without a card in each run', async () => {
    const charge = await scene.create()
    for (const _ of [1, 2]) {
      const { exitCode, stdout } = await cli.run(args())
      expect({ exitCode, stdout }).toMatchObject({
        exitCode: 1,
        stdout: expect.stringContaining(charge.id),
      })
      expect(stdout).toContain('no saved card')
    }
  })

  it('does not try a final refusal of Stripe again, and tells the hooks of it once (issue 8, line 14)', async () => {
    await app.request('POST', `${shop.path}/webhook-endpoints`, {
      body: { url: 'https://receiver.example/hook', event_types: ['charge.declined'] },
    })
    scene.save()
    const refused = await scene.create()
    stripe.fake.control.injectFault({ ...CREATE_INTENT, action: { kind: 'refuse', status: 400 } })
    const first = await cli.run(args())
    expect(first).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^1\/1 \S+ 12\.34 EUR declined: ./),
      stdout: expect.stringContaining('0 paid, 1 failed'),
    })
    const failure = { code: 'stripe_refused', message: expect.stringMatching(/./) }
    expect(await scene.get(refused.id)).toMatchObject({ status: 'declined', failure, attempts: 1 })
    stripe.fake.control.clearFaults()

    const other = await scene.create()
    stripe.fake.control.clearRequests()
    const second = await cli.run([...args(), '--json'])
    expect(second.exitCode).toBe(0)
    expect(JSON.parse(second.stdout)).toMatchObject({
      data: [{ id: other.id, outcome: 'paid' }],
      summary: { paid: 1, failed: 0, skipped: 1 },
    })
    const third = await cli.run(args())
    expect(third.stdout).toContain('0 paid, 0 failed, 0 waiting, 1 skipped')
    expect(await scene.get(refused.id)).toMatchObject({ status: 'declined', failure, attempts: 1 })
    const told = await app.rows<{ body: string }>(
      'select body from webhook_deliveries where conference_id = $1',
      [shop.conference],
    )
    expect(told.map(({ body }) => JSON.parse(body))).toMatchObject([
      {
        type: 'charge.declined',
        data: { charge: refused.id, attempt: 1, failure_code: 'stripe_refused' },
      },
    ])
    // Staff may still charge it.
    expect((await scene.act(refused.id, 'charge')).body).toMatchObject({ status: 'succeeded' })
  })

  it('does not try the own card of a charge again after it was detached (issue 8, line 14)', async () => {
    scene.save()
    const own = scene.save('pm_card_mastercard')
    const charge = await scene.create({ payment_method: own })
    const detached = await app.request(
      'DELETE',
      `${shop.path}/customers/${scene.customer}/payment-methods/${own}`,
    )
    expect(detached.status).toBeLessThan(300)
    for (const [exitCode, said] of [
      [1, '1 failed'],
      [0, '0 failed, 0 waiting, 1 skipped'],
    ] as const) {
      expect(await cli.run(args())).toMatchObject({
        exitCode,
        stdout: expect.stringContaining(said),
      })
      expect(await scene.get(charge.id)).toMatchObject({
        status: 'declined',
        failure: { code: 'no_payment_method' },
        attempts: 1,
      })
    }
    expect(scene.taken(charge.id)).toBe(0)
  })

  it('makes no attempt in each run for a sponsor who has no card yet (issue 8, line 14)', async () => {
    const charge = await scene.create()
    for (const _ of [1, 2, 3]) expect((await cli.run(args())).exitCode).toBe(1)
    expect(await scene.get(charge.id)).toMatchObject({ status: 'open', attempts: 1 })
    scene.save()
    expect((await cli.run(args())).exitCode).toBe(0)
    expect(await scene.get(charge.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
  })

  it('F8: continues with charges that an earlier run left open', async () => {
    scene.save()
    const charge = await scene.create()
    for (const path of ['/v1/payment_intents/*/confirm', '/v1/payment_intents/*']) {
      const kind = path.endsWith('confirm') ? 'fail_after' : 'cut'
      stripe.fake.control.injectFault({ path, times: 'always', action: { kind } })
    }
    expect(await cli.run(args())).toMatchObject({ exitCode: 1 })
    expect(await scene.get(charge.id)).toMatchObject({ status: 'open' })
    stripe.fake.control.clearFaults()
    expect(await cli.run(args())).toMatchObject({ exitCode: 0 })
    expect(scene.taken(charge.id)).toBe(1_234)
  })

  it('charges nothing twice if two runs are active', async () => {
    scene.save()
    const charges = [await scene.create(), await scene.create(), await scene.create()]
    const runs = await Promise.all([cli.run(args()), cli.run(args())])
    expect(runs.map(({ exitCode, stdout }) => ({ exitCode, stdout }))).toEqual([
      expect.objectContaining({ exitCode: 0 }),
      expect.objectContaining({ exitCode: 0 }),
    ])
    for (const { id } of charges) expect(scene.taken(id)).toBe(1_234)
  })
})
