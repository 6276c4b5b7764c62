import type { Command } from 'commander'
import { addJob } from '../jobs/job-queue.ts'
import { createMailer, mailOperators } from '../notifications/mailer.ts'
import { AppError } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { createEventInbox } from '../stripe-events/event-inbox.ts'
import {
  checkWebhooks,
  missedEventsMail,
  type WebhookCheck,
} from '../stripe-events/missed-events.ts'
import { type Problem, toFailure, toProblem, WebhooksMissed } from './cli-errors.ts'
import { conferencesToSearch, type Session, withSession } from './cli-session.ts'
import { addCommand, answer, type Cli } from './command.ts'
import { type Column, renderTable } from './table.ts'

/** Ids in the output; the table of events has all of them. */
const SHOWN_IDS = 50

type Options = { conference?: string; reportOnly?: true }

/** The outcome of the mail to the operators. */
type MailOutcome = 'sent' | 'queued' | 'not_configured'

type Checked = { line: CheckLine; check: WebhookCheck | null }

/** `webhooks:check` */
export function addWebhooksCheck(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhooks:check',
    summary: 'Check whether all webhook events of Stripe have arrived',
    details:
      "Compares Stripe's events with the stored events and stores the missing ones: all recent events, " +
      'and the events of the last 30 days that Stripe could not deliver. If more than ' +
      'PENDING_EVENTS_THRESHOLD events of a conference were missing, the command sends a mail to ' +
      'OPERATOR_EMAIL and ends with exit code 1. If Stripe cannot be read, it also ends with exit code 1.',
    examples: [
      ['webhooks:check', 'all conferences; suitable for cron'],
      ['webhooks:check --conference devconf --report-only', 'changes nothing'],
    ],
  })
  command.option('--conference <slug|id>', 'only this one (default: all with a Stripe key)')
  command.option('--report-only', 'store nothing, only report')
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
      throw new AppError(
        'stripe_failed',
        `${failed} of ${lines.length} conferences could not be compared.`,
      )
    }
  })
}

const MAIL_TEXTS: Record<MailOutcome, string> = {
  sent: 'A mail was sent to the operators.\n',
  queued: 'The mail server refused the mail to the operators; a worker will retry.\n',
  not_configured: 'No mail was sent: OPERATOR_EMAIL or SMTP_URL is not set.\n',
}

async function checkAll(session: Session, options: Options): Promise<Checked[]> {
  const checked: Checked[] = []
  for (const { conferenceId } of await conferencesToSearch(session.db, options.conference)) {
    const one = await checkOne(session, conferenceId, options.reportOnly === true)
    // A conference without a Stripe key is skipped, unless it was named.
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

/** Sends one mail for all conferences directly: cron may run without a worker. Null: no mail is needed. */
async function alarm(
  { config, db }: Session,
  checked: readonly Checked[],
  stored: boolean,
): Promise<MailOutcome | null> {
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

/** The result of the check for one conference. */
type CheckLine = {
  conference: string
  /** Recent events that Stripe listed. */
  listed: number | null
  /** Events that Stripe could not deliver, as Stripe reports. */
  undelivered: number | null
  /** Events that were missing and that this service processes. */
  missing: number | null
  /** The first of their ids. */
  missing_ids: string[]
  /** Events that were missing and that this service ignores. */
  ignored: number | null
  /** Whether the missing events were stored. */
  ingested: boolean
  alarming: boolean
  /** Another process is comparing, so this command did nothing. */
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
  if (running) return 'another process is comparing'
  if (problem !== null) return `${problem.detail} (${problem.code})`
  const outcome = ingested ? 'stored' : 'only counted'
  if (alarming) return `${outcome}; more than the threshold: check the webhook endpoint at Stripe`
  return missing === null || missing === 0 ? null : outcome
}
