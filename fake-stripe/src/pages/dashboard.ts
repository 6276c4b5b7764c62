import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { COMMANDS } from '../control/control-commands.ts'
import { describe } from '../control/control-routes.ts'
import type { FakeStripeControl } from '../control/fake-stripe-control.ts'
import { type Account, maskKey } from '../core/accounts.ts'
import type { FakeState } from '../fake-state.ts'
import { code, commandForm, type View } from './dashboard-parts.ts'
import {
  disputesSection,
  paymentsSection,
  refundsSection,
  sessionsSection,
} from './dashboard-payments.ts'
import {
  endpointsSection,
  eventsSection,
  faultsSection,
  requestsSection,
} from './dashboard-traffic.ts'
import { type Html, html, type Page, sendPage } from './page-layout.ts'

const LISTS = [
  'sessions',
  'payments',
  'refunds',
  'disputes',
  'events',
  'endpoints',
  'faults',
  'requests',
] as const

const text = z.string().optional().catch(undefined)
const query = z.object({
  /** `acct_…`; absent: the newest account. */
  account: text,
  /** The only list to show, and its cursors. */
  list: z.enum(LISTS).optional().catch(undefined),
  after: text,
  before: text,
  /** The result of the last button. */
  notice: text,
  /** Why the last button failed. */
  problem: text,
  /** `req_…` to look up. */
  request: text,
})
const form = z.looseObject({ _account: z.string().optional(), _list: z.string().optional() })

type DashboardQuery = z.output<typeof query>

/** The dashboard at `/`; its buttons post to `/_dashboard/{command}`, which redirects back to it. */
export function registerDashboard(
  app: FastifyInstance,
  state: FakeState,
  control: FakeStripeControl,
): void {
  app.get('/', (request, reply) =>
    sendPage(reply, dashboardPage(state, query.parse(request.query))),
  )
  app.post<{ Params: { command: string } }>('/_dashboard/:command', async (request, reply) => {
    const { _account: account, _list: list, ...input } = form.parse(request.body ?? {})
    const { command } = request.params
    const result = await perform(control, command, withoutBlanks(input))
    const back = new URLSearchParams({
      ...(account ? { account } : {}),
      ...(list ? { list } : {}),
      ...result,
    })
    return reply.redirect(`/?${back.toString()}`, 303)
  })
}

async function perform(
  control: FakeStripeControl,
  name: string,
  input: unknown,
): Promise<{ notice: string } | { problem: string }> {
  const command = COMMANDS.get(name)
  if (command === undefined) return { problem: `There is no command ${name}.` }
  try {
    return { notice: `Done: ${name}. ${summary(await command.run(control, input))}` }
  } catch (error) {
    return { problem: describe(error).message }
  }
}

/** The fields of a command's result that people need. */
function summary(result: unknown): string {
  if (typeof result !== 'object' || result === null) return ''
  const shown = ['id', 'status', 'payment_status', 'secretKey', 'secret', 'now']
  const fields = Object.entries(result).filter(([key]) => shown.includes(key))
  return fields.map(([key, value]) => `${key}: ${String(value)}`).join(', ')
}

/** Removes empty fields, which a form also sends. */
function withoutBlanks(value: unknown): unknown {
  if (Array.isArray(value)) {
    const kept = value.map(withoutBlanks).filter((item) => item !== undefined)
    return kept.length > 0 ? kept : undefined
  }
  if (typeof value !== 'object' || value === null) return value === '' ? undefined : value
  const entries = Object.entries(value).map(([key, item]) => [key, withoutBlanks(item)] as const)
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined))
}

/** The dashboard: all objects of one account, with buttons for payers, banks and staff. */
function dashboardPage(state: FakeState, query: DashboardQuery): Page {
  const accounts = state.accounts.all()
  const account = accounts.find(({ id }) => id === query.account) ?? accounts.at(-1)
  const body = html`<h1>fake-stripe</h1>
${query.notice !== undefined && html`<p class="notice" role="status">${query.notice}</p>`}
${query.problem !== undefined && html`<p class="problem" role="alert">${query.problem}</p>`}
${account === undefined ? noAccount(state) : accountBody(state, accounts, account, query)}`
  return {
    title: 'fake-stripe',
    body,
    banner: 'fake-stripe: all data is in memory, no money moves.',
  }
}

function noAccount(state: FakeState): Html {
  return html`<div class="card"><p>No account yet. The first request with a key such as
${code('sk_test_123')} opens one:</p>
<p>${code(`curl ${state.url()}/v1/account -u sk_test_123:`)}</p>
${createForm({ account: '' })}</div>`
}

function accountBody(
  state: FakeState,
  accounts: Account[],
  account: Account,
  { list, after, before, request }: DashboardQuery,
): Html {
  const view: View = { account: account.id, list, after, before }
  return html`${accounts.length > 1 && accountForm(accounts, account)}
${list !== undefined && html`<p><a href="/?account=${account.id}#${list}">All lists</a></p>`}
${list === undefined && accountCard(state, account, view)}
${list === undefined && request === undefined && jumpLinks()}
${request !== undefined && requestsSection(state, account, view, request)}
${sessionsSection(account, view)}
${paymentsSection(account, view)}
${refundsSection(account, view)}
${disputesSection(account, view)}
${eventsSection(state, account, view)}
${endpointsSection(state, account, view)}
${faultsSection(state, view)}
${request === undefined && requestsSection(state, account, view, undefined)}`
}

/** The newest accounts; older ones are reached by the URL. */
const MAX_ACCOUNTS = 200

function accountForm(accounts: Account[], current: Account): Html {
  const newest = accounts.slice(-MAX_ACCOUNTS).toReversed()
  const listed = newest.includes(current) ? newest : [current, ...newest]
  const options = listed.map(
    ({ id, profile }) =>
      html`<option value="${id}"${{ markup: id === current.id ? ' selected' : '' }}>${profile.name} (${id})</option>`,
  )
  return html`<form method="get" action="/"><label for="account">Account</label>
<select id="account" name="account">${options}</select> <button type="submit">Show</button></form>`
}

function jumpLinks(): Html {
  const links = LISTS.map((list) => html`<a href="#${list}">${list}</a> `)
  return html`<nav aria-label="Lists">${links}</nav>`
}

function accountCard(state: FakeState, account: Account, view: View): Html {
  const { country, defaultCurrency, livemode } = account.profile
  const keys = state.accounts.keysOf(account).map((key) => html`${code(maskKey(key))} `)
  const advance = commandForm(
    view,
    'advance',
    'Advance the clock',
    html`<label>Seconds <input class="short" name="seconds" type="number" min="0" value="3600"></label>`,
  )
  return html`<div class="card"><p>${code(account.id)}, ${livemode ? 'live' : 'test'} mode, ${country},
${defaultCurrency.toUpperCase()}. Keys: ${keys}</p>
<p>The fake's time is ${new Date(state.clock.now()).toUTCString()}. ${advance}</p>
${createForm(view)}</div>`
}

function createForm(view: View): Html {
  const fields = html`<label>Name <input name="name" placeholder="Example Merchant"></label>`
  return commandForm(view, 'create-account', 'New account', fields)
}
