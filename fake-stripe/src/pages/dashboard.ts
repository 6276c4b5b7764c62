import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { COMMANDS } from '../control/control-commands.ts'
import { describe } from '../control/control-routes.ts'
import type { FakeStripeControl } from '../control/fake-stripe-control.ts'
import { type Account, maskKey } from '../core/accounts.ts'
import type { FakeState } from '../fake-state.ts'
import { code, commandForm } from './dashboard-parts.ts'
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

const text = z.string().optional().catch(undefined)
const query = z.object({ account: text, notice: text, problem: text, request: text })
const form = z.looseObject({ _account: z.string().optional() })

/** The dashboard at `/`; its buttons post to `/_dashboard/{command}` and lead back to it. */
export function registerDashboard(
  app: FastifyInstance,
  state: FakeState,
  control: FakeStripeControl,
): void {
  app.get('/', (request, reply) =>
    sendPage(reply, dashboardPage(state, query.parse(request.query))),
  )
  app.post<{ Params: { command: string } }>('/_dashboard/:command', async (request, reply) => {
    const { _account: account, ...input } = form.parse(request.body ?? {})
    const { command } = request.params
    const said = await perform(control, command, withoutBlanks(input))
    const back = new URLSearchParams({ ...(account ? { account } : {}), ...said })
    return reply.redirect(`/?${back.toString()}`, 303)
  })
}

async function perform(
  control: FakeStripeControl,
  name: string,
  input: unknown,
): Promise<{ notice: string } | { problem: string }> {
  const command = COMMANDS.get(name)
  if (command === undefined) return { problem: `There is no command ${name}` }
  try {
    return { notice: `Done: ${name}. ${summary(await command.run(control, input))}` }
  } catch (error) {
    return { problem: describe(error).message }
  }
}

/** The few fields that a person needs from a command's result. */
function summary(result: unknown): string {
  if (typeof result !== 'object' || result === null) return ''
  const shown = ['id', 'status', 'payment_status', 'secretKey', 'secret', 'now']
  const fields = Object.entries(result).filter(([key]) => shown.includes(key))
  return fields.map(([key, value]) => `${key}: ${String(value)}`).join(', ')
}

/** A form sends its empty fields too; they mean "not given". */
function withoutBlanks(value: unknown): unknown {
  if (Array.isArray(value)) {
    const kept = value.map(withoutBlanks).filter((item) => item !== undefined)
    return kept.length > 0 ? kept : undefined
  }
  if (typeof value !== 'object' || value === null) return value === '' ? undefined : value
  const entries = Object.entries(value).map(([key, item]) => [key, withoutBlanks(item)] as const)
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined))
}

export type DashboardQuery = {
  /** `acct_…`; absent: the newest account. */
  account?: string | undefined
  /** What the last button did. */
  notice?: string | undefined
  /** Why the last button did not work. */
  problem?: string | undefined
  /** `req_…` to look up. */
  request?: string | undefined
}

/** The dashboard: everything of one account, with buttons for what payers, banks and staff do. */
function dashboardPage(state: FakeState, query: DashboardQuery): Page {
  const accounts = state.accounts.all()
  const account = accounts.find(({ id }) => id === query.account) ?? accounts.at(-1)
  const body = html`<h1>Fake Stripe</h1>
${query.notice !== undefined && html`<p class="notice" role="status">${query.notice}</p>`}
${query.problem !== undefined && html`<p class="problem" role="alert">${query.problem}</p>`}
${account === undefined ? noAccount(state) : accountBody(state, accounts, account, query.request)}`
  return {
    title: 'Fake Stripe',
    body,
    banner: 'Fake Stripe: everything is in memory, no money moves.',
  }
}

function noAccount(state: FakeState): Html {
  return html`<div class="card"><p>No account yet. The first request with a key such as
${code('sk_test_123')} opens one:</p>
<p>${code(`curl ${state.url()}/v1/account -u sk_test_123:`)}</p>
${createForm('')}</div>`
}

function accountBody(
  state: FakeState,
  accounts: Account[],
  account: Account,
  request: string | undefined,
): Html {
  return html`${accountNav(accounts, account)}
${accountCard(state, account)}
${sessionsSection(account)}
${paymentsSection(account)}
${refundsSection(account)}
${disputesSection(account)}
${eventsSection(state, account)}
${endpointsSection(state, account)}
${faultsSection(state, account.id)}
${requestsSection(state, account, request)}`
}

function accountNav(accounts: Account[], current: Account): Html {
  const links = accounts.map(({ id, profile }) =>
    id === current.id
      ? html`<a href="/?account=${id}" aria-current="page">${profile.name} (${id})</a>`
      : html`<a href="/?account=${id}">${profile.name} (${id})</a>`,
  )
  return html`<nav aria-label="Accounts">${links}</nav>`
}

function accountCard(state: FakeState, account: Account): Html {
  const { country, defaultCurrency, livemode } = account.profile
  const keys = state.accounts.keysOf(account).map((key) => html`${code(maskKey(key))} `)
  const advance = commandForm(
    account.id,
    'advance',
    'Advance the clock',
    html`<label>Seconds <input class="short" name="seconds" type="number" min="0" value="3600"></label>`,
  )
  return html`<div class="card"><p>${code(account.id)}, ${livemode ? 'live' : 'test'} mode, ${country},
${defaultCurrency.toUpperCase()}. Keys: ${keys}</p>
<p>The fake's time is ${new Date(state.clock.now()).toUTCString()}. ${advance}</p>
${createForm(account.id)}</div>`
}

function createForm(account: string): Html {
  const fields = html`<label>Name <input name="name" placeholder="Example Merchant"></label>`
  return commandForm(account, 'create-account', 'New account', fields)
}
