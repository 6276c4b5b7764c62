import { formatAmount } from '../core/currency.ts'
import { type Html, type HtmlValue, html } from './page-layout.ts'

/** Newest rows per table; the API has the rest. */
export const SHOWN_ROWS = 50

/** A button that runs one command and comes back to the same account. */
export function commandButton(
  account: string,
  command: string,
  label: string,
  input: Record<string, string> = {},
): Html {
  return html`<form class="inline" method="post" action="/_dashboard/${command}">
${hiddenFields(account, input)}<button type="submit">${label}</button></form>`
}

/** A form with fields of its own around one command. */
export function commandForm(
  account: string,
  command: string,
  label: string,
  fields: Html,
  input: Record<string, string> = {},
): Html {
  return html`<form class="inline" method="post" action="/_dashboard/${command}">
${hiddenFields(account, input)}${fields} <button type="submit">${label}</button></form>`
}

function hiddenFields(account: string, input: Record<string, string>): Html[] {
  return Object.entries({ _account: account, ...input }).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
  )
}

/** A field whose label is read out but not shown, for the narrow cells of a table. */
export function field(
  name: string,
  label: string,
  attributes: { type?: string; value?: string } = {},
) {
  const { type = 'text', value = '' } = attributes
  return html`<input class="short" name="${name}" type="${type}" value="${value}" aria-label="${label}" placeholder="${label}">`
}

export function select(name: string, label: string, values: readonly string[]): Html {
  const options = values.map((value) => html`<option>${value}</option>`)
  return html`<select name="${name}" aria-label="${label}">${options}</select>`
}

export function section(
  id: string,
  title: string,
  caption: string,
  head: readonly string[],
  rows: readonly Html[],
  after?: Html,
): Html {
  const columns = head.map((name) => html`<th scope="col">${name}</th>`)
  const body =
    rows.length > 0 ? rows : html`<tr><td colspan="${head.length}" class="soft">None yet.</td></tr>`
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>
<div class="scroll"><table><caption>${caption}</caption><thead><tr>${columns}</tr></thead>
<tbody>${body}</tbody></table></div>${after}</section>`
}

export function row(...cells: HtmlValue[]): Html {
  return html`<tr>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`
}

export function code(text: string): Html {
  return html`<code>${text}</code>`
}

export function money(amount: number | null, currency: string | null): string {
  return amount === null || currency === null ? '–' : formatAmount(amount, currency)
}

const GOOD = ['complete', 'paid', 'succeeded', 'won', 'delivered', 'enabled', 'no_payment_required']
const BAD = ['expired', 'failed', 'lost', 'canceled', 'dropped', 'needs_response', 'disabled']

export function badge(name: string | null): Html {
  const tone = GOOD.includes(name ?? '') ? 'good' : BAD.includes(name ?? '') ? 'bad' : 'soft'
  return html`<span class="state ${tone}">${name}</span>`
}

/** `2026-11-21 14:05:09`, UTC. @param seconds since 1970. */
export function time(seconds: number): Html {
  const iso = new Date(seconds * 1000).toISOString()
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')}</time>`
}
