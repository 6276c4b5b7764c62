import { beforeAll, expect } from 'vitest'
import type { DriftLine } from '../../../src/mirror/drift/drift-line.ts'
import { idOf } from '../../../src/stripe/stripe-objects.ts'
import { useCommandLine } from '../../cli/command-line.ts'
import { openShop, type Shop } from '../../support/shop.ts'
import type { Body } from '../../support/test-app.ts'
import { type SyncScene, useSyncScene } from '../sync-scene.ts'

export type Line = Omit<DriftLine, 'source'>

export type Report = {
  data: Line[]
  has_more: boolean
  next_cursor: string | null
  summary: { missing: number; extra: number; different: number } | null
  mirror: Record<string, { synced_at: string | null; repair: DriftLine['repair'] }>
}

export type LiveReport = {
  conference: string
  summary: { missing: number; extra: number; different: number }
  mirror: Report['mirror'] | null
  purchases_read: number | null
  has_more: boolean
  lines: DriftLine[]
}

type Paid = { id: string; session: string; payment: string }

export type DriftScene = {
  readonly scene: SyncScene
  readonly cli: ReturnType<typeof useCommandLine>
  /** A shop that receives no webhooks. */
  readonly deafShop: (overrides?: Body) => Promise<Shop>
  /** A paid and reconciled purchase. */
  readonly paid: (shop: Shop) => Promise<Paid>
  /** Runs a full sync of the resources that purchases are compared with. */
  readonly sync: (shop: Shop) => Promise<void>
  readonly report: (shop: Shop, query?: string) => Promise<Report>
  readonly lines: (shop: Shop, query?: string) => Promise<Line[]>
  readonly live: (shop: Shop, ...options: string[]) => Promise<LiveReport>
  /** Runs the repair command of a line as if a user pasted it. */
  readonly repair: (line: Pick<DriftLine, 'repair'> | undefined) => Promise<void>
}

/** The service, a fake Stripe and the command line with one database. */
export function useDriftScene(): DriftScene {
  const scene = useSyncScene()
  const env: NodeJS.ProcessEnv = {}
  beforeAll(() => {
    env['STRIPE_API_BASE'] = scene.fake.url
    env['STRIPE_TIMEOUT_SECONDS'] = '20'
    env['STRIPE_REQUESTS_PER_SECOND'] = '0'
  })
  const cli = useCommandLine(scene, env)

  const own: DriftScene = {
    scene,
    cli,
    deafShop: (overrides = {}) => openShop(scene, overrides),
    async paid(shop) {
      const { id } = await shop.buy()
      const session = await shop.openSession(id)
      const payment = idOf(scene.fake.control.pay(session).payment_intent)
      if (payment === null) throw new Error(`${session} was paid without a payment intent`)
      const { body } = await shop.act(id, 'reconcile')
      expect(body.status).toBe('PAID')
      return { id, session, payment }
    },
    async sync(shop) {
      const names = ['payment-intents', 'refunds', 'disputes', 'checkout-sessions']
      const { exitCode, stderr } = await cli.run([
        'sync',
        ...names,
        '--conference',
        shop.conference,
      ])
      expect(exitCode, stderr).toBe(0)
    },
    async report(shop, query = '') {
      const url = `${shop.path}/stripe/drift${query}`
      const { status, body } = await scene.request<Report>('GET', url)
      expect(status, JSON.stringify(body)).toBe(200)
      return body
    },
    async lines(shop, query) {
      return (await own.report(shop, query)).data
    },
    async live(shop, ...options) {
      const args = ['drift', '--live', '--conference', shop.conference, ...options, '--json']
      const { stdout, stderr, exitCode } = await cli.run(args)
      expect(stdout, stderr).not.toBe('')
      const [found] = (JSON.parse(stdout) as { data: LiveReport[] }).data
      if (found === undefined) throw new Error(`drift --live printed nothing: ${stderr}`)
      expect(exitCode).toBe(found.lines.length === 0 ? 0 : 1)
      return found
    },
    async repair(line) {
      const command = line?.repair?.command ?? 'no command'
      const [npx, program, ...args] = command.split(' ')
      expect([npx, program], command).toEqual(['npx', 'sponsor-vouchers'])
      const { exitCode, stderr } = await cli.run(args)
      expect(exitCode, `${command}: ${stderr}`).toBe(0)
    },
  }
  return own
}
