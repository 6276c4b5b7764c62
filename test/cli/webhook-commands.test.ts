import { describe, expect, it } from 'vitest'
import { startMailServer } from '../notifications/mail-server.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

type Line = {
  conference: string
  listed: number
  undelivered: number
  missing: number
  missing_ids: string[]
  ignored: number
  ingested: boolean
  alarming: boolean
}
type Check = { data: Line[]; mail: string | null }

/** A shop whose purchase was paid while its webhook endpoint did not answer. */
async function shopUnreached(): Promise<Shop & { purchase: string }> {
  const shop = await openShop(app)
  stripe.fake.control.addWebhookEndpoint({ account: shop.stripeKey, url: 'http://127.0.0.1:9/' })
  const { id: purchase } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(purchase))
  return { ...shop, purchase }
}

const args = (shop: Shop, ...more: string[]) => [
  'webhooks:check',
  '--conference',
  shop.conference,
  ...more,
]

const stored = (shop: Shop) =>
  app.rows<{ id: string; source: string; status: string }>(
    'select id, source, status from stripe_events where conference_id = $1',
    [shop.conference],
  )

/** As if the timer had looked a moment ago, and an hour were behind us. */
const lookAway = (shop: Shop) =>
  app.rows(
    `update conferences set events_checked_until = now() + interval '2 hours' where id = $1`,
    [shop.conference],
  )

describe('webhooks:check', () => {
  it('F13: stores missing events by id, once, also behind newer stored events', async () => {
    const shop = await shopUnreached()
    const first = await cli.json<Check>(args(shop))
    const [line] = first.data
    expect(line).toMatchObject({ ingested: true, alarming: false })
    expect(line?.missing).toBeGreaterThan(0)
    const events = await stored(shop)
    const pending = events.filter(({ status }) => status === 'pending').map(({ id }) => id)
    expect(line?.missing_ids.toSorted()).toEqual(pending.toSorted())
    expect(new Set(events.map(({ source }) => source))).toEqual(new Set(['missed']))
    // The newest is there, an older one is not: a gap that looking from the last one on misses.
    const gap = pending[0]
    await app.rows('delete from stripe_events where id = $1', [gap])
    expect((await cli.json<Check>(args(shop))).data).toMatchObject([
      { missing: 1, missing_ids: [gap] },
    ])
    expect((await cli.json<Check>(args(shop))).data).toMatchObject([{ missing: 0, ignored: 0 }])
  })

  it('finds undelivered events older than the last check', async () => {
    const shop = await shopUnreached()
    await lookAway(shop)
    const found = await cli.json<{ data: { missing: number }[] }>([
      'events:find-missed',
      '--conference',
      shop.conference,
    ])
    expect(found.data).toMatchObject([{ missing: 0 }])
    await lookAway(shop)
    const { data } = await cli.json<Check>(args(shop))
    expect(data[0]).toMatchObject({ listed: 0, ingested: true })
    expect(data[0]?.undelivered).toBeGreaterThan(0)
    expect(data[0]?.missing).toBeGreaterThan(0)
    expect(await stored(shop)).toHaveLength(data[0]?.undelivered ?? 0)
  })

  it('changes nothing with --report-only, and counts an event of both lists once', async () => {
    const shop = await shopUnreached()
    const look = () => cli.json<Check>(args(shop, '--report-only'))
    const [first, second] = [await look(), await look()]
    expect(first).toEqual(second)
    const ids = first.data[0]?.missing_ids ?? []
    expect(first.data[0]).toMatchObject({ ingested: false, missing: ids.length })
    expect(new Set(ids).size).toBe(ids.length)
    expect(await stored(shop)).toEqual([])
    expect((await cli.json<Check>(args(shop))).data).toMatchObject([{ missing: ids.length }])
  })

  it('mails the operators above the threshold, with the environment, and exits with 1', async () => {
    const server = await startMailServer()
    const shop = await shopUnreached()
    const mail = {
      PENDING_EVENTS_THRESHOLD: '1',
      SMTP_URL: server.url,
      MAIL_FROM: 'vouchers@conf.example',
      OPERATOR_EMAIL: 'ops@conf.example,night@conf.example',
      ENV_PREFIX: 'staging',
    }
    const ran = await cli.run([...args(shop), '--json'], { env: mail })
    expect(ran.exitCode).toBe(1)
    expect(JSON.parse(ran.stderr)).toMatchObject({ code: 'webhooks_missed' })
    const answer = JSON.parse(ran.stdout) as Check
    expect(answer).toMatchObject({ data: [{ alarming: true, ingested: true }], mail: 'sent' })
    expect(server.mails).toHaveLength(1)
    const [sent] = server.mails
    expect(sent?.to).toEqual(['ops@conf.example', 'night@conf.example'])
    const { missing, missing_ids: ids } = answer.data[0] ?? { missing: 0, missing_ids: [] }
    expect(sent?.header('Subject')).toBe(
      `[staging] ${missing} Stripe events did not arrive by webhook`,
    )
    for (const id of ids) expect(sent?.raw).toContain(id)
    // They are stored now: nothing is missing, and no mail is sent.
    expect((await cli.run(args(shop), { env: mail })).exitCode).toBe(0)
    expect(server.mails).toHaveLength(1)
  })

  it('leaves the mail to a worker if the mail server is down', async () => {
    const shop = await shopUnreached()
    const { exitCode, stdout } = await cli.run(args(shop), {
      env: {
        PENDING_EVENTS_THRESHOLD: '1',
        SMTP_URL: 'smtp://127.0.0.1:9',
        MAIL_FROM: 'vouchers@conf.example',
        OPERATOR_EMAIL: 'ops@conf.example',
      },
    })
    expect(exitCode).toBe(1)
    expect(stdout).toContain('a worker will retry')
    const jobs = await app.rows<{ text: string }>(
      `select payload->>'text' as text from graphile_worker._private_jobs
       where key like 'mail_operators:%'`,
    )
    expect(jobs).toHaveLength(1)
    expect(jobs[0]?.text).toContain(shop.path.split('/').at(-1))
  })

  it('reports that no mail was sent if no operator is configured', async () => {
    const shop = await shopUnreached()
    const { exitCode, stdout, stderr } = await cli.run(args(shop), {
      env: { PENDING_EVENTS_THRESHOLD: '1' },
    })
    expect(exitCode).toBe(1)
    expect(stdout).toContain('OPERATOR_EMAIL or SMTP_URL is not set')
    expect(stderr).toContain('Too many webhook events of Stripe were missing')
  })

  it('exits with 1 if Stripe cannot be read', async () => {
    const shop = await openShop(app)
    stripe.fake.control.injectFault({
      path: '/v1/events',
      times: 'always',
      action: { kind: 'error', status: 503 },
    })
    const ran = await cli.run([...args(shop), '--json'])
    stripe.fake.control.clearFaults()
    expect(ran.exitCode).toBe(1)
    expect(JSON.parse(ran.stdout)).toMatchObject({ data: [{ problem: { code: 'stripe_failed' } }] })
  })
})
