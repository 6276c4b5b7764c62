import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ChargeScene, openChargeScene } from '../billing/charges/charge-scene.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'
import { useCommandLine } from './command-line.ts'

const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = {}
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
  env['STRIPE_TIMEOUT_SECONDS'] = '1'
})
const app = useTestApp({ env })
const cli = useCommandLine(app, env)

let shop: Shop
let scene: ChargeScene
beforeEach(async () => {
  stripe.fake.control.clearFaults()
  shop = await openShop(app)
  scene = await openChargeScene(app, stripe, shop)
})

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
