import type { Command } from 'commander'
import { z } from 'zod'
import type { Db } from '../db/connect.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import {
  createEventInbox,
  EVENT_STATUSES,
  listEvents,
  replayEvent,
  replayFailed,
} from '../stripe-events/event-inbox.ts'
import {
  eventQuery,
  type stripeEventSchema,
  toStripeEventBody,
} from '../stripe-events/event-schemas.ts'
import { findMissedEvents } from '../stripe-events/missed-events.ts'
import { type Problem, toFailure, toProblem, UsageError } from './cli-errors.ts'
import {
  conferencesToSearch,
  findConference,
  inOwner,
  type Session,
  withSession,
} from './cli-session.ts'
import { addCommand, addPageOptions, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, momentText, renderPage, renderTable } from './table.ts'
import type { Paint } from './terminal.ts'

const input = eventQuery.extend({ conference: z.string().min(1) })

/** `events:list` */
export function addEventsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'events:list',
    summary: "List a conference's Stripe events, newest first",
    examples: [
      ['events:list --conference devconf --status failed', 'failed events, which can be replayed'],
      ['events:list --conference devconf --type charge.refunded', 'events of one type'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--status <status>', `one of: ${EVENT_STATUSES.join(', ')}`)
    .option('--type <type>', 'only events of this type, for example refund.created')

  addPageOptions(command).action(async () => {
    const { conference, status, type, ...query } = parseInput(input, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const { conferenceId } = await findConference(db, conference)
      return withTenant(db, { conferenceId }, (trx) =>
        listEvents(trx, conferenceId, { status, type }, query),
      )
    })
    const body = mapPage(page, toStripeEventBody)
    answer(cli, command, body, (paint) => renderPage(body, EVENT_COLUMNS, paint))
  })
}

type Options = { conference?: string; failed?: true }

/** `events:replay` */
export function addEventsReplay(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'events:replay [event...]',
    summary: 'Process Stripe events again',
    details:
      'A worker processes them immediately. A replay is always safe: processing an event fetches the ' +
      'current object from Stripe and never applies the payload of the event.',
    examples: [
      ['events:replay evt_1Pxyz evt_1Pabc', 'these events, in any status'],
      ['events:replay --failed', 'every failed event of all conferences'],
      ['events:replay --failed --conference devconf', 'the same for one conference'],
    ],
  })
    .option('--failed', 'replay every failed event')
    .option('--conference <slug|id>', 'only this one (default: all conferences)')

  command.action(async (ids: string[], options: Options) => {
    if (ids.length > 0 === (options.failed === true)) {
      throw new UsageError('either event ids or --failed is required')
    }
    const failed = options.failed === true
    await withSession(cli, async ({ db }) => {
      const conferences = await conferencesToSearch(db, options.conference)
      if (failed) return answerCount(cli, command, await replayAll(db, conferences))
      const events = await replayEach(db, conferences, ids)
      answer(cli, command, { data: events }, (paint) => renderTable(events, EVENT_COLUMNS, paint))
    })
  })
}

function answerCount(cli: Cli, command: Command, count: number): void {
  const what = count === 1 ? '1 event' : `${count} events`
  answer(cli, command, { replayed: count }, () => `${what} will be processed again.\n`)
}

async function replayAll(db: Db, conferences: readonly Caller[]): Promise<number> {
  let count = 0
  for (const { conferenceId } of conferences) {
    count += await withTenant(db, { conferenceId }, (trx) => replayFailed(trx, conferenceId))
  }
  return count
}

async function replayEach(
  db: Db,
  conferences: readonly Caller[],
  ids: readonly string[],
): Promise<EventBody[]> {
  const events: EventBody[] = []
  for (const id of ids) {
    const row = await inOwner(db, conferences, `event: ${id}`, (trx, { conferenceId }) =>
      replayEvent(trx, conferenceId, id),
    )
    events.push(toStripeEventBody(row))
  }
  return events
}

/** `events:find-missed` */
export function addEventsFindMissed(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'events:find-missed',
    summary: "Compare Stripe's events with the stored ones and store the missing ones",
    details:
      'A worker does the same every few minutes. If Stripe cannot be read for a conference, the ' +
      'command continues with the others and ends with exit code 1.',
    examples: [
      ['events:find-missed', 'for all conferences'],
      ['events:find-missed --conference devconf', 'for one conference'],
    ],
  })
  command.option('--conference <slug|id>', 'only this one (default: all with a Stripe key)')
  command.action(async (options: { conference?: string }) => {
    const lines = await withSession(cli, async (session) => {
      const lines: MissedLine[] = []
      for (const { conferenceId } of await conferencesToSearch(session.db, options.conference)) {
        const line = await tryOne(session, conferenceId)
        // A conference without a Stripe key is skipped, unless it was named.
        const isKeyless = line.problem?.code === 'stripe_key_missing'
        if (!isKeyless || options.conference !== undefined) lines.push(line)
      }
      return lines
    })
    answer(cli, command, { data: lines }, (paint) =>
      lines.length === 0
        ? 'No conference has a Stripe key.\n'
        : renderTable(lines, MISSED_COLUMNS, paint),
    )
    const failed = lines.filter(({ problem }) => problem !== null).length
    if (failed > 0) {
      throw new AppError(
        'stripe_failed',
        `${failed} of ${lines.length} conferences could not be compared.`,
      )
    }
  })
}

async function tryOne(session: Session, conference: string): Promise<MissedLine> {
  const inbox = createEventInbox(session)
  const none = { listed: null, missing: null, ignored: null }
  try {
    const found = await findMissedEvents({ ...session, inbox }, conference)
    return { conference, ...none, ...found, running: found === null, problem: null }
  } catch (error) {
    return { conference, ...none, running: false, problem: toProblem(toFailure(error)) }
  }
}

type EventBody = z.infer<typeof stripeEventSchema>

const STATUS_STYLE = {
  pending: 'cyan',
  done: 'green',
  ignored: 'dim',
  failed: 'red',
} as const satisfies Record<EventBody['status'], keyof Paint>

/** The columns of a list of Stripe events. */
const EVENT_COLUMNS: readonly Column<EventBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'TYPE', cell: ({ type }) => type },
  {
    head: 'STATUS',
    cell: ({ status }) => status,
    paint: ({ status }, paint) => paint[STATUS_STYLE[status]],
  },
  { head: 'ATTEMPTS', cell: ({ attempts }) => attempts, align: 'right' },
  { head: 'RECEIVED (UTC)', cell: ({ received_at }) => momentText(received_at) },
  { head: 'PURCHASE', cell: ({ purchase }) => purchase },
  { head: 'LAST ERROR', cell: ({ last_error }) => last_error },
]

/** The result of the comparison for one conference. */
type MissedLine = {
  conference: string
  /** Events that Stripe listed. */
  listed: number | null
  /** Events that were missing, stored now, and that this service processes. */
  missing: number | null
  /** Events that were missing, stored now, and that this service ignores. */
  ignored: number | null
  /** Another process is comparing, so this command did nothing. */
  running: boolean
  problem: Problem | null
}

const MISSED_COLUMNS: readonly Column<MissedLine>[] = [
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'LISTED', cell: ({ listed }) => listed, align: 'right' },
  { head: 'MISSING', cell: ({ missing }) => missing, align: 'right' },
  { head: 'IGNORED', cell: ({ ignored }) => ignored, align: 'right' },
  { head: 'REMARK', cell: remarkOf },
]

function remarkOf({ running, problem }: MissedLine): string | null {
  if (running) return 'another process is comparing'
  return problem === null ? null : `${problem.detail} (${problem.code})`
}
