import type { Command } from 'commander'
import { addJob } from '../jobs/job-queue.ts'
import { createMailer, mailOperators } from '../notifications/mailer.ts'
import { AppError } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { createEventInbox } from '../stripe-events/event-store.ts'
import {
  checkWebhooks,
  missedEventsMail,
  type WebhookCheck,
} from '../stripe-events/missed-events.ts'
import { type Problem, toFailure, toProblem, WebhooksMissed } from './cli-errors.ts'
import { conferencesToSearch, type Session, withSession } from './cli-session.ts'
import { addCommand, answer, type Cli } from './command.ts'
import { type Column, renderTable } from './table.ts'

/** Ids in an answer; the table of events has them all. */
const SHOWN_IDS = 50

type Options = { conference?: string; reportOnly?: true }

/** What became of the mail to the operators. */
type MailFate = 'sent' | 'queued' | 'not_configured'

type Checked = { line: CheckLine; check: WebhookCheck | null }

/** `webhooks:check` */
export function addWebhooksCheck(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhooks:check',
    summary: 'Compare what Stripe delivered, or could not, with what arrived',
    details:
      "Looks at Stripe's recent events and at those that it could not deliver in 30 days, and takes " +
      'in what is missing. When more than PENDING_EVENTS_THRESHOLD events of a conference were ' +
      'missing it writes to OPERATOR_EMAIL. Ends with 1 then, and when Stripe could not be read.',
    examples: [
      ['webhooks:check', 'for every conference; fit for cron'],
      ['webhooks:check --conference devconf --report-only', 'changes nothing'],
    ],
  })
  command.option('--conference <slug|id>', 'default: all of them with a Stripe key')
  command.option('--report-only', 'take nothing in, only tell')
  command.action(async (options: Options) => {
    const { checked, mail } = await withSession(cli, async (session) => {
      const checked = await checkAll(session, options)
      return { checked, mail: await alarm(session, checked, options.reportOnly !== true) }
    })
    const lines = checked.map(({ line }) => line)
    answer(cli, command, { data: lines, mail }, (paint) =>
      lines.length === 0
        ? 'No conference has a Stripe key.\n'
        : `${renderTable(lines, CHECK_COLUMNS, paint)}${mail === null ? '' : MAIL_TEXTS[mail]}`,
    )
    const alarming = checked.flatMap(({ check }) => (check?.alarming ? [check.slug] : []))
    if (alarming.length > 0) throw new WebhooksMissed(alarming)
    const failed = lines.filter(({ problem }) => problem !== null).length
    if (failed > 0) {
      throw new AppError('stripe_failed', `${failed} of ${lines.length} could not be compared.`)
    }
  })
}

const MAIL_TEXTS: Record<MailFate, string> = {
  sent: 'The operators were written to.\n',
  queued: 'The mail server did not take the mail to the operators; a worker tries again.\n',
  not_configured: 'Nobody was written to: OPERATOR_EMAIL or SMTP_URL is not set.\n',
}

async function checkAll(session: Session, options: Options): Promise<Checked[]> {
  const checked: Checked[] = []
  for (const { conferenceId } of await conferencesToSearch(session.db, options.conference)) {
    const one = await checkOne(session, conferenceId, options.reportOnly === true)
    // Without a key there is nothing to compare with, which matters only to who asked for it.
    const isKeyless = one.line.problem?.code === 'stripe_key_missing'
    if (!isKeyless || options.conference !== undefined) checked.push(one)
  }
  return checked
}

async function checkOne(
  session: Session,
  conference: string,
  reportOnly: boolean,
): Promise<Checked> {
  const inbox = createEventInbox(session)
  const nothing: CheckLine = {
    conference,
    listed: null,
    undelivered: null,
    missing: null,
    missing_ids: [],
    ignored: null,
    ingested: false,
    alarming: false,
    running: false,
    problem: null,
  }
  try {
    const check = await checkWebhooks({ ...session, inbox }, conference, { reportOnly })
    if (check === null) return { line: { ...nothing, running: true }, check }
    const line = {
      ...nothing,
      listed: check.listed,
      undelivered: check.undelivered,
      missing: check.missing.length,
      missing_ids: check.missing.slice(0, SHOWN_IDS),
      ignored: check.ignored.length,
      ingested: !reportOnly,
      alarming: check.alarming,
    }
    return { line, check }
  } catch (error) {
    return { line: { ...nothing, problem: toProblem(toFailure(error)) }, check: null }
  }
}

/** One mail for all conferences, at once: cron may run where no worker does. Returns null for none. */
async function alarm(
  { config, db }: Session,
  checked: readonly Checked[],
  stored: boolean,
): Promise<MailFate | null> {
  const alarming = checked.flatMap(({ check }) => (check?.alarming ? [check] : []))
  if (alarming.length === 0) return null
  const mail = missedEventsMail(alarming, stored)
  const name = newId('mail')
  const settings = { mailer: createMailer(config.mail), operators: config.mail.operators }
  try {
    return (await mailOperators(settings, { name, ...mail })) ? 'sent' : 'not_configured'
  } catch {
    await db.transaction((trx) => addJob(trx, 'mail_operators', { message: name, ...mail }))
    return 'queued'
  }
}

/** What a check of the webhooks of one conference found. */
type CheckLine = {
  conference: string
  /** Recent events that Stripe listed. */
  listed: number | null
  /** Events that Stripe says it could not deliver. */
  undelivered: number | null
  /** Events that we did not have and that are work for us. */
  missing: number | null
  /** Their ids, as many as people look at. */
  missing_ids: string[]
  /** Events that we did not have and need not. */
  ignored: number | null
  /** Whether the missing ones were taken in. */
  ingested: boolean
  alarming: boolean
  /** Another process compares at this moment, so this one did nothing. */
  running: boolean
  problem: Problem | null
}

const CHECK_COLUMNS: readonly Column<CheckLine>[] = [
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'LISTED', cell: ({ listed }) => listed, align: 'right' },
  { head: 'UNDELIVERED', cell: ({ undelivered }) => undelivered, align: 'right' },
  { head: 'MISSING', cell: ({ missing }) => missing, align: 'right' },
  { head: 'IGNORED', cell: ({ ignored }) => ignored, align: 'right' },
  { head: 'REMARK', cell: remarkOf },
]

function remarkOf({ running, problem, alarming, ingested, missing }: CheckLine): string | null {
  if (running) return 'another process compares right now'
  if (problem !== null) return `${problem.detail} (${problem.code})`
  const fate = ingested ? 'taken in' : 'only counted'
  if (alarming) return `${fate}; more than the threshold: check the endpoint at Stripe`
  return missing === null || missing === 0 ? null : fate
}
