import { beforeAll, describe, expect, it, vi } from 'vitest'
import { createMailer, type Mailer } from '../../src/notifications/mailer.ts'
import {
  createPurchaseLink,
  purchaseEmailKind,
  sendPurchaseEmail,
} from '../../src/purchases/purchase-email.ts'
import { newId } from '../../src/shared/ids.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { useServices } from '../main/run-service.ts'
import { type MailServer, startMailServer } from '../notifications/mail-server.ts'
import { useTestApp } from '../support/test-app.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { dispute, openScene, PAID, refund, type Scene, session } from './purchase-scene.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const app = useTestApp()
const start = useServices()

const log: string[] = []
const logger = createLogger('info', { write: (line) => void log.push(line) })

const FROM = 'Tickets <tickets@conf.example>'
const mailerOf = (server: MailServer): Mailer | null =>
  createMailer({ smtpUrl: server.url, folder: null, from: FROM, operators: [], prefix: null })

type Job = { id: string; purchase_id: string; kind: string; message: string; max_attempts: number }

type Bought = Scene & {
  jobs(): Promise<Job[]>
  /** Runs the waiting e-mail jobs once, as a worker does; with `keep` as if none had finished. */
  send(mailer: Mailer | null, keep?: 'keep'): Promise<void>
}

/** An open purchase of a sponsor with this address. */
async function openBought(
  contactEmail: string | null,
  order: Parameters<typeof openScene>[1] = {},
): Promise<Bought> {
  const scene = await openScene(app.db, order)
  const { conferenceId, purchaseId } = scene.ref
  const sponsor = newId('sponsor')
  await scene.run(async (trx) => {
    await trx('sponsors').insert({
      conference_id: conferenceId,
      id: sponsor,
      name: 'Acme Robotics',
      slug: 'acme',
      contact_email: contactEmail,
    })
    await trx('bulk_purchases')
      .where({ conference_id: conferenceId, id: purchaseId })
      .update({ sponsor_id: sponsor })
  })
  const jobs = () =>
    app.rows<Job>(
      `select id, payload->>'purchase_id' as purchase_id, payload->>'kind' as kind,
         payload->>'message' as message, max_attempts
       from graphile_worker._private_jobs
       where payload->>'purchase_id' = $1 and key like 'mail_purchase:%' order by id`,
      [purchaseId],
    )
  return {
    ...scene,
    jobs,
    async send(mailer, keep) {
      const linkOf = createPurchaseLink({
        purchaseUrl: null,
        publicUrl: 'https://vouchers.example.org/',
      })
      for (const { id, kind, message } of await jobs()) {
        if (keep === undefined) {
          await app.rows('delete from graphile_worker._private_jobs where id = $1', [id])
        }
        const deps = { db: app.db, mailer, logger, linkOf }
        await sendPurchaseEmail(deps, scene.ref, purchaseEmailKind.parse(kind), message)
      }
    },
  }
}

const codesOf = async ({ ref }: Scene): Promise<string[]> => {
  const rows = await app.rows<{ code: string }>(
    'select code from vouchers where conference_id = $1 order by ordinal',
    [ref.conferenceId],
  )
  return rows.map(({ code }) => code)
}

describe('the e-mail with the codes', () => {
  let bought: Bought
  let server: MailServer

  beforeAll(async () => {
    bought = await openBought('team@acme.example')
    await bought.read(PAID)
    await bought.read(PAID)
  })

  it('is requested once, in the commit that made the purchase PAID', async () => {
    expect(await bought.jobs()).toMatchObject([{ kind: 'codes_ready', max_attempts: 21 }])
  })

  it('has a link and the exported file of codes, and no code in its text', async () => {
    server = await startMailServer()
    await bought.send(mailerOf(server), 'keep')
    const [mail] = server.mails
    expect(mail?.to).toEqual(['team@acme.example'])
    expect(mail?.header('Subject')).toBe('Your 10 voucher codes for Conference are ready')
    const { conferenceId, purchaseId } = bought.ref
    const slug = conferenceId.toLowerCase().replace('_', '-')
    const path = `/v1/conferences/${slug}/purchases/${purchaseId}/vouchers`
    // Quoted-printable breaks long lines.
    expect(mail?.raw.replaceAll('=\r\n', '')).toContain(
      `https://vouchers.example.org/portal/${slug}/purchases/${purchaseId}`,
    )
    const { body } = await app.request<string>('GET', path, { headers: { accept: 'text/csv' } })
    expect(mail?.attachment('text/csv')).toBe(body)
    const codes = await codesOf(bought)
    expect(codes).toHaveLength(10)
    for (const code of codes) expect(mail?.raw).not.toContain(code)
  })

  it('has the same id when a worker died between sending and recording it', async () => {
    server = await startMailServer()
    await bought.send(mailerOf(server), 'keep')
    await bought.send(mailerOf(server), 'keep')
    const ids = server.mails.map((mail) => mail.header('Message-ID'))
    const [{ message } = { message: '' }] = await bought.jobs()
    expect(ids).toEqual([`<${message}@conf.example>`, `<${message}@conf.example>`])
  })

  it('is logged without the address and not retried when the server refuses it', async () => {
    server = await startMailServer()
    server.meetWith({ at: 'recipient', code: 550 })
    log.length = 0
    await bought.send(mailerOf(server), 'keep')
    expect(server.mails).toEqual([])
    expect(log.join('')).toContain('permanently refused')
    expect(log.join('')).not.toContain('acme.example')
  })

  it('is retried when the server defers it', async () => {
    server = await startMailServer()
    server.meetWith({ at: 'recipient', code: 451 })
    await expect(bought.send(mailerOf(server), 'keep')).rejects.toThrow('not this one')
    await bought.send(mailerOf(server), 'keep')
    expect(server.mails).toHaveLength(1)
  })

  it('is not sent after a full refund', async () => {
    server = await startMailServer()
    await bought.read({ ...PAID, refunds: [refund('re_1', 1000)] })
    await bought.send(mailerOf(server))
    expect(server.mails.map((mail) => mail.header('Subject'))).toEqual([
      'Your payment for Conference was refunded',
    ])
  })
})

describe('a sponsor', () => {
  it('gets an e-mail about a failure, a partial refund and a dispute', async () => {
    const server = await startMailServer()
    const bought = await openBought('team@acme.example')
    await bought.read({ sessions: [session({ status: 'expired', paid: false })] })
    await bought.send(mailerOf(server))
    await bought.read(PAID)
    await bought.read({ ...PAID, refunds: [refund('re_1', 300)] })
    await bought.read({
      ...PAID,
      refunds: [refund('re_1', 300)],
      disputes: [dispute('needs_response')],
    })
    await bought.send(mailerOf(server))
    expect(server.mails.map((mail) => mail.header('Subject'))).toEqual([
      'Your purchase of voucher codes for Conference was not completed',
      'Your 10 voucher codes for Conference are ready',
      'Part of your payment for Conference was refunded',
      'Your payment for Conference is disputed',
    ])
    const [failed, , refunded] = server.mails
    expect(failed?.raw).toContain('Reason: The checkout expired before it was paid.')
    expect(refunded?.raw).toContain('we have refunded 3.00 EUR of your 10.00 EUR payment.')
  })

  it('reads which payment outside Stripe arrived, and that free codes were withdrawn', async () => {
    const server = await startMailServer()
    const bought = await openBought('team@acme.example')
    const urlOf = ({ ref }: Scene) =>
      `/v1/conferences/${ref.conferenceId}/purchases/${ref.purchaseId}`
    await bought.read({ sessions: [session({ status: 'expired', paid: false })] })
    const body = { amount: 1_000, method: 'bank_transfer', reference: 'RE-7' }
    await app.request('POST', `${urlOf(bought)}/mark-paid`, { body })
    await bought.send(mailerOf(server))
    const [ready] = server.mails
    expect(ready?.raw.replaceAll('=\r\n', '')).toContain(
      'we have received your payment of 10.00 EUR (bank transfer, RE-7).\r\nYour 10 voucher codes are ready.',
    )
    const free = await openBought('team@acme.example', { unitAmount: 0 })
    await app.request('POST', `${urlOf(free)}/approve`)
    await free.send(mailerOf(server), 'keep')
    expect(server.mails.at(-1)?.raw).toContain('your 10 free voucher codes are ready.')
    await app.request('POST', `${urlOf(free)}/revoke`)
    await free.send(mailerOf(server))
    expect(server.mails.map((mail) => mail.header('Subject'))).toEqual([
      'Your 10 voucher codes for Conference are ready',
      'Your 10 voucher codes for Conference are ready',
      'Your free voucher codes for Conference were withdrawn',
    ])
  })

  it('without an address gets no e-mail, and nothing fails', async () => {
    const server = await startMailServer()
    const bought = await openBought(null)
    await bought.read(PAID)
    await bought.send(mailerOf(server))
    expect(server.mails).toEqual([])
  })

  it('gets the e-mail at the address at the time of sending', async () => {
    const server = await startMailServer()
    const bought = await openBought('typo@acme.example')
    await bought.read(PAID)
    await bought.run((trx) =>
      trx('sponsors')
        .where({ conference_id: bought.ref.conferenceId })
        .update({ contact_email: 'right@acme.example' }),
    )
    await bought.send(mailerOf(server))
    expect(server.mails[0]?.to).toEqual(['right@acme.example'])
  })

  it('gets no e-mail if no mail server is configured', async () => {
    const bought = await openBought('team@acme.example')
    await bought.read(PAID)
    await bought.send(null)
    expect(await bought.jobs()).toEqual([])
  })

  it('gets an e-mail twice under the same Message-ID if the server did not confirm the first', async () => {
    const server = await startMailServer()
    server.meetWith('lost')
    const bought = await openBought('team@acme.example')
    await bought.read(PAID)
    await start({
      DATABASE_URL: app.connectionString,
      RUN: 'work',
      SMTP_URL: server.url,
      MAIL_FROM: FROM,
      ENV_PREFIX: 'test',
    })
    await expect.poll(() => server.mails.length, POLL_OPTIONS).toBe(2)
    const [first, second] = server.mails
    expect(first?.header('Message-ID')).toMatch(/^<mail_\w+@conf\.example>$/)
    expect(second?.header('Message-ID')).toBe(first?.header('Message-ID'))
    expect(second?.header('Subject')).toMatch(/^\[test\] Your 10 voucher codes/)
    await expect.poll(() => bought.jobs(), POLL_OPTIONS).toEqual([])
    expect(server.mails).toHaveLength(2)
  })
})

describe('the link to a purchase', () => {
  it('is the shop’s page if it is configured', () => {
    const linkOf = createPurchaseLink({
      purchaseUrl: 'https://shop.example/{conference}/orders/{purchase}?from=mail',
      publicUrl: 'https://vouchers.example.org',
    })
    expect(linkOf('pycon', 'bp_1')).toBe('https://shop.example/pycon/orders/bp_1?from=mail')
    expect(createPurchaseLink({ purchaseUrl: null, publicUrl: null })('pycon', 'bp_1')).toBeNull()
  })
})
