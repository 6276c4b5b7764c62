import type { Account } from '../core/account.ts'
import { maskKey } from '../core/account-registry.ts'
import type { World } from '../core/world.ts'
import { code, commandForm } from './dashboard-parts.ts'
import { type Html, html } from './html.ts'
import type { Page } from './page-layout.ts'
import { disputesSection } from './sections/disputes-section.ts'
import { endpointsSection } from './sections/endpoints-section.ts'
import { eventsSection } from './sections/events-section.ts'
import { paymentsSection } from './sections/payments-section.ts'
import { refundsSection } from './sections/refunds-section.ts'
import { requestsSection } from './sections/requests-section.ts'
import { sessionsSection } from './sections/sessions-section.ts'
import { troubleSection } from './sections/trouble-section.ts'

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
export function dashboardPage(world: World, query: DashboardQuery): Page {
  const accounts = world.accounts.all()
  const account = accounts.find(({ id }) => id === query.account) ?? accounts.at(-1)
  const body = html`<h1>Fake Stripe</h1>
${query.notice !== undefined && html`<p class="notice" role="status">${query.notice}</p>`}
${query.problem !== undefined && html`<p class="problem" role="alert">${query.problem}</p>`}
${account === undefined ? noAccount(world) : accountBody(world, accounts, account, query.request)}`
  return {
    title: 'Fake Stripe',
    body,
    banner: 'Fake Stripe: everything is in memory, no money moves.',
  }
}

function noAccount(world: World): Html {
  return html`<div class="card"><p>No account yet. The first request with a key such as
${code('sk_test_123')} opens one:</p>
<p>${code(`curl ${world.url()}/v1/account -u sk_test_123:`)}</p>
${createForm('')}</div>`
}

function accountBody(
  world: World,
  accounts: Account[],
  account: Account,
  request: string | undefined,
): Html {
  return html`${accountNav(accounts, account)}
${accountCard(world, account)}
${sessionsSection(account)}
${paymentsSection(account)}
${refundsSection(account)}
${disputesSection(account)}
${eventsSection(world, account)}
${endpointsSection(world, account)}
${troubleSection(world, account.id)}
${requestsSection(world, account, request)}`
}

function accountNav(accounts: Account[], current: Account): Html {
  const links = accounts.map(({ id, profile }) =>
    id === current.id
      ? html`<a href="/?account=${id}" aria-current="page">${profile.name} (${id})</a>`
      : html`<a href="/?account=${id}">${profile.name} (${id})</a>`,
  )
  return html`<nav aria-label="Accounts">${links}</nav>`
}

function accountCard(world: World, account: Account): Html {
  const { country, defaultCurrency, livemode } = account.profile
  const keys = world.accounts.keysOf(account).map((key) => html`${code(maskKey(key))} `)
  const advance = commandForm(
    account.id,
    'advance',
    'Advance the clock',
    html`<label>Seconds <input class="short" name="seconds" type="number" min="0" value="3600"></label>`,
  )
  return html`<div class="card"><p>${code(account.id)}, ${livemode ? 'live' : 'test'} mode, ${country},
${defaultCurrency.toUpperCase()}. Keys: ${keys}</p>
<p>The fake's time is ${new Date(world.clock.now()).toUTCString()}. ${advance}</p>
${createForm(account.id)}</div>`
}

function createForm(account: string): Html {
  const fields = html`<label>Name <input name="name" placeholder="Example Merchant"></label>`
  return commandForm(account, 'create-account', 'New account', fields)
}
