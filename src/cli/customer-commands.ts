import type { Command } from 'commander'
import {
  type CustomerRef,
  getCustomer,
  listCustomers,
} from '../billing/customers/customer-store.ts'
import { refreshCustomer, refreshListedCustomers } from '../billing/customers/saved-cards.ts'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError } from '../shared/errors.ts'
import { type Problem, toFailure, toProblem } from './cli-errors.ts'
import {
  allPages,
  conferencesToSearch,
  inBackground,
  inOwner,
  type Session,
  withSession,
} from './cli-session.ts'
import { addCommand, answer, type Cli, wantsJson } from './command.ts'
import { type Column, PROBLEM_COLUMN, renderTable } from './table.ts'

type Options = { conference?: string; ids?: string }

/** `customers:refresh` */
export function addCustomersRefresh(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'customers:refresh',
    summary: 'Re-read customers and their saved cards from Stripe',
    details:
      'Repairs what missed webhooks would have updated, also for customers that were made at Stripe. ' +
      'Stays within the request limit of the Stripe account. If a customer cannot be read, the command continues and ends with exit code 1.',
    examples: [
      ['customers:refresh', 'every customer of all conferences with a Stripe key'],
      ['customers:refresh --conference devconf', 'every customer of one conference'],
      ['customers:refresh --ids cust_7Jk2mQx9RtVb', 'one customer'],
    ],
  })
    .option('--conference <slug|id>', 'only this one (default: all with a Stripe key)')
    .option('--ids <ids>', 'only these customers, separated by commas')

  command.action(async (options: Options) => {
    const isJson = wantsJson(command)
    const lines = await withSession(cli, async (session) => {
      const listed = await readLists(cli, session, options)
      const found = await find(session.db, options)
      const done: RefreshedLine[] = []
      for (const ref of found) {
        if (cli.signal.aborted) break
        const line = await tryOne(session, ref, listed.has(ref.conferenceId))
        done.push(line)
        if (!isJson) cli.terminal.err.write(refreshedText(line, done.length, found.length))
      }
      return done
    })
    answer(cli, command, { data: lines }, (paint) =>
      lines.length === 0
        ? 'There are no customers.\n'
        : renderTable(lines, REFRESHED_COLUMNS, paint),
    )
    const failed = lines.filter(({ problem }) => problem !== null).length
    if (failed > 0) {
      throw new AppError(
        'stripe_failed',
        `${failed} of ${lines.length} customers could not be refreshed.`,
      )
    }
  })
}

/**
 * Reads the list of customers of each conference into the mirror, unless single customers are named.
 * Returns the conferences whose list was read; the customers of the others are read one by one.
 */
async function readLists(cli: Cli, session: Session, options: Options): Promise<Set<string>> {
  const read = new Set<string>()
  if (options.ids !== undefined) return read
  const deps = inBackground(session)
  for (const { conferenceId } of await conferencesToSearch(session.db, options.conference)) {
    try {
      const run = await refreshListedCustomers(deps, conferenceId, cli.signal)
      if (run.state !== 'succeeded') continue
      read.add(conferenceId)
      cli.terminal.err.write(`${conferenceId}: read ${run.counts.fetched} customers\n`)
    } catch (error) {
      const { code } = toProblem(toFailure(error))
      cli.terminal.err.write(`${conferenceId}: could not read the list of customers (${code})\n`)
    }
  }
  return read
}

async function find(db: Db, { conference, ids }: Options): Promise<CustomerRef[]> {
  const conferences = await conferencesToSearch(db, conference)
  const found: CustomerRef[] = []
  for (const id of ids?.split(',').map((text) => text.trim()) ?? []) {
    found.push(
      await inOwner(db, conferences, `customer: ${id}`, async (trx, { conferenceId }) => {
        const customer = await getCustomer(trx, { conferenceId, customerId: id })
        return { conferenceId, customerId: customer.id }
      }),
    )
  }
  if (ids !== undefined) return found
  for (const { conferenceId } of conferences) found.push(...(await allOf(db, conferenceId)))
  return found
}

async function allOf(db: Db, conferenceId: string): Promise<CustomerRef[]> {
  const found = await allPages((query) =>
    withTenant(db, { conferenceId }, (trx) => listCustomers(trx, conferenceId, null, query)),
  )
  return found.map(({ id }) => ({ conferenceId, customerId: id }))
}

async function tryOne(
  session: Session,
  ref: CustomerRef,
  isListed: boolean,
): Promise<RefreshedLine> {
  const line = { id: ref.customerId, conference: ref.conferenceId }
  try {
    const { isAlive, methods } = await refreshCustomer(inBackground(session), ref, isListed)
    return { ...line, at_stripe: isAlive, payment_methods: methods, problem: null }
  } catch (error) {
    return {
      ...line,
      at_stripe: null,
      payment_methods: null,
      problem: toProblem(toFailure(error)),
    }
  }
}

/** The result of refreshing one customer. */
type RefreshedLine = {
  id: string
  conference: string
  /** False: the customer was not created at Stripe, or was deleted there. */
  at_stripe: boolean | null
  payment_methods: number | null
  problem: Problem | null
}

const existsText = ({ at_stripe: isThere }: RefreshedLine) =>
  isThere === null ? null : isThere ? 'yes' : 'no'

const REFRESHED_COLUMNS: readonly Column<RefreshedLine>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'CONFERENCE', cell: ({ conference }) => conference },
  { head: 'AT STRIPE', cell: existsText },
  { head: 'CARDS', cell: ({ payment_methods: cards }) => cards, align: 'right' },
  PROBLEM_COLUMN,
]

/** `3/120 cust_… 2 payment methods` */
function refreshedText(line: RefreshedLine, done: number, all: number): string {
  const { id, problem, payment_methods: methods } = line
  const found = problem === null ? `${methods ?? 0} payment methods` : problem.code
  return `${done}/${all} ${id} ${found}\n`
}
