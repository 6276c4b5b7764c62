import { createMailer, type Mailer } from '../../src/notifications/mailer.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { sendAssignmentEmail } from '../../src/vouchers/assignment-email.ts'
import type { MailServer } from '../notifications/mail-server.ts'
import { createConference, createSponsor, createSponsorKey } from '../support/fixtures.ts'
import type { Body, TestApp } from '../support/test-app.ts'
import { freePurchase } from './voucher-http.ts'

export type AssignedTo = {
  email: string
  name: string | null
  assigned_at: string
  sent_at: string | null
}

export type VoucherBody = Body & { code: string; assigned_to: AssignedTo | null }

export type UploadBody = Body & {
  errors: { line: number; column: string | null; detail: string }[]
  data: { line: number; code: string; email: string; name: string | null; outcome: string }[]
}

/** A sponsor with a key and a paid purchase, and what it may do about assignments. */
export async function openAssignments(app: TestApp, quantity: number, terms: Body = {}) {
  const conference = await createConference(app)
  const sponsor = await createSponsor(app, conference, { name: 'Acme Robotics' })
  const { key } = await createSponsorKey(app, conference, sponsor.id)
  const bought = await freePurchase(app, conference, {
    quantity,
    sponsor: sponsor.id,
    voucher_config: terms,
  })
  const pathOf = (code: string) => `${conference.path}/vouchers/${encodeURIComponent(code)}`
  return {
    conference,
    sponsor,
    key,
    ...bought,
    assign: (code: string, body: Body, as: string = key) =>
      app.request<VoucherBody>('PUT', `${pathOf(code)}/assignment`, { as, body }),
    unassign: (code: string) =>
      app.request<VoucherBody>('DELETE', `${pathOf(code)}/assignment`, { as: key }),
    send: (code: string) => app.request('POST', `${pathOf(code)}/assignment/send`, { as: key }),
    read: (code: string, as: string = key) => app.request<VoucherBody>('GET', pathOf(code), { as }),
    redeem: (code: string) =>
      app.request<{ id: string }>('POST', `${pathOf(code)}/redemptions`, {
        body: { reference: `order of ${code}` },
      }),
    upload: (lines: readonly string[] | Buffer, query = '', headers = {}) =>
      app.request<UploadBody>(
        'POST',
        `${conference.path}/purchases/${bought.purchase}/assignments?${query}`,
        {
          as: key,
          headers: { 'content-type': 'text/csv; charset=utf-8', ...headers },
          body: Buffer.isBuffer(lines) ? lines : lines.join('\n'),
        },
      ),
    list: async (query: string, as: string = key) => {
      const path = `${conference.path}/vouchers?${query}`
      const { body } = await app.request<{ data: VoucherBody[] }>('GET', path, { as })
      return body.data.map(({ code }) => code)
    },
    /** The assigned addresses in the order of issue. */
    people: async () => {
      const path = `${conference.path}/purchases/${bought.purchase}/vouchers?limit=100`
      const { body } = await app.request<{ data: VoucherBody[] }>('GET', path, { as: key })
      return body.data.map(({ assigned_to: person }) => person?.email ?? null)
    },
    mails: mailsOf(app, conference.id),
  }
}

type Job = { id: string; payload: { voucher_id: number; message: string } }

/** The waiting e-mails of a conference, and a worker that sends them. */
function mailsOf(app: TestApp, conferenceId: string) {
  const jobs = () =>
    app.rows<Job>(
      `select id, payload from graphile_worker._private_jobs
       where key like 'mail_assignment:%' and payload->>'conference_id' = $1 order by id`,
      [conferenceId],
    )
  return {
    waiting: async () => (await jobs()).length,
    /** Sends the waiting e-mails once; with `keep` as if the worker died before it recorded that. */
    async deliver(server: MailServer | null, { keep = false, log = [] as string[] } = {}) {
      const mailer = server === null ? null : mailerOf(server)
      const logger = createLogger('info', { write: (line) => void log.push(line) })
      for (const { id, payload } of await jobs()) {
        if (!keep) await app.rows('delete from graphile_worker._private_jobs where id = $1', [id])
        const { voucher_id: voucherId, message } = payload
        await sendAssignmentEmail(
          { db: app.db, mailer, logger },
          { conferenceId, voucherId, message },
        )
      }
    },
  }
}

const mailerOf = (server: MailServer): Mailer | null =>
  createMailer({
    smtpUrl: server.url,
    folder: null,
    from: 'Tickets <tickets@conf.example>',
    operators: [],
    prefix: null,
  })
