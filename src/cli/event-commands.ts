import type { Command } from 'commander'
import { z } from 'zod'
import type { Db } from '../db/connect.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import {
  eventQuery,
  type stripeEventSchema,
  toStripeEventBody,
} from '../stripe-events/event-schemas.ts'
import {
  createEventInbox,
  EVENT_STATUSES,
  listEvents,
  replayEvent,
  replayFailed,
} from '../stripe-events/event-store.ts'
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
    summary: "List a conference's events from Stripe, the last received first",
    examples: [
      ['events:list --conference devconf --status failed', 'what waits for a replay'],
      ['events:list --conference devconf --type charge.refunded', 'of one type'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'whose')
    .option('--status <status>', EVENT_STATUSES.join(', '))
    .option('--type <type>', 'such as refund.created')

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
    summary: 'Make events due again',
    details:
      'A working process takes them up at once. A replay is always safe: an event only says that ' +
      'it is time to look at what Stripe has.',
    examples: [
      ['events:replay evt_1Pxyz evt_1Pabc', 'these, whatever became of them'],
      ['events:replay --failed', 'every failed event of all conferences'],
      ['events:replay --failed --conference devconf', 'of one conference'],
    ],
  })
    .option('--failed', 'every event that failed')
    .option('--conference <slug|id>', 'default: all of them')

  command.action(async (ids: string[], options: Options) => {
    if (ids.length > 0 === (options.failed === true)) {
      throw new UsageError('name events, or give --failed')
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
  const what = count === 1 ? '1 event is' : `${count} events are`
  answer(cli, command, { replayed: count }, () => `${what} due again.\n`)
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
    summary: "Compare Stripe's list of events with ours and take in what is missing",
    details:
      'What the timer of a working process does every few minutes. Ends with 1 when Stripe could ' +
      'not be read for one of the conferences; the others are done.',
    examples: [
      ['events:find-missed', 'for every conference'],
      ['events:find-missed --conference devconf', 'for one'],
    ],
  })
  command.option('--conference <slug|id>', 'default: all of them with a Stripe key')
  command.action(async (options: { conference?: string }) => {
    const lines = await withSession(cli, async (session) => {
      const lines: MissedLine[] = []
      for (const { conferenceId } of await conferencesToSearch(session.db, options.conference)) {
        const line = await tryOne(session, conferenceId)
        // Without a key there is nothing to compare with, which matters only to who asked for it.
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
      throw new AppError('stripe_failed', `${failed} of ${lines.length} could not be compared.`)
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

/** An event of Stripe and what became of it. */
const EVENT_COLUMNS: readonly Column<EventBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'TYPE', cell: ({ type }) => type },
  {
    head: 'STATUS',
    cell: ({ status }) => status,
    paint: ({ status }, paint) => paint[STATUS_STYLE[status]],
  },
  { head: 'TRIES', cell: ({ attempts }) => attempts, align: 'right' },
  { head: 'RECEIVED (UTC)', cell: ({ received_at }) => momentText(received_at) },
  { head: 'PURCHASE', cell: ({ purchase }) => purchase },
  { head: 'LAST ERROR', cell: ({ last_error }) => last_error },
]

/** What a comparison with Stripe's list found for one conference. */
type MissedLine = {
  conference: string
  /** Events that Stripe listed. */
  listed: number | null
  /** Taken in now, and work for us. */
  missing: number | null
  /** Taken in now, and none of ours. */
  ignored: number | null
  /** Another process compares at this moment, so this one did nothing. */
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
  if (running) return 'another process compares right now'
  return problem === null ? null : `${problem.detail} (${problem.code})`
}
