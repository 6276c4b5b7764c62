import { formatAmount } from '../core/currency.ts'
import type { Row, Rows } from '../core/rows.ts'
import { type Html, type HtmlValue, html } from './page-layout.ts'

/** What the dashboard shows: all lists of an account, or one list from a cursor on. */
export type View = {
  account: string
  /** The only list to show, such as `payments`; absent: the newest rows of every list. */
  list?: string | undefined
  /** Cursors in the one list: the id of the row above or below the page. */
  after?: string | undefined
  before?: string | undefined
}

/** A page of a list, newest first; `newer` and `older` are the cursors of the pages beside it. */
export type Slice<T> = { items: readonly T[]; newer: string | null; older: string | null }

const OVERVIEW_ROWS = 10
const PAGE_ROWS = 25

/** The page of a table that the view asks for. */
export function sliceRows<T extends Row>(rows: Rows<T>, view: View, list: string): Slice<T> {
  if (view.list !== list) return slice(rows.page({ limit: OVERVIEW_ROWS }), {})
  const { after: startingAfter, before: endingBefore } = view
  const page = rows.page({ limit: PAGE_ROWS, startingAfter, endingBefore })
  // A cursor can be unknown, for example after a restart.
  if (page === undefined) return slice(rows.page({ limit: PAGE_ROWS }), {})
  return slice(page, view)
}

function slice<T extends { id: string }>(
  page: { data: readonly T[]; hasMore: boolean } | undefined,
  { after, before }: { after?: string | undefined; before?: string | undefined },
): Slice<T> {
  const { data, hasMore } = page ?? { data: [], hasMore: false }
  const first = data.at(0)?.id ?? null
  const last = data.at(-1)?.id ?? null
  if (before !== undefined) return { items: data, newer: hasMore ? first : null, older: last }
  return { items: data, newer: after === undefined ? null : first, older: hasMore ? last : null }
}

/** The same for an array, newest first. */
export function sliceArray<T extends { id: string }>(
  all: readonly T[],
  view: View,
  list: string,
): Slice<T> {
  if (view.list !== list)
    return slice({ data: all.slice(0, OVERVIEW_ROWS), hasMore: all.length > OVERVIEW_ROWS }, {})
  const { after, before } = view
  const at = all.findIndex(({ id }) => id === (before ?? after))
  const start = at === -1 ? 0 : before === undefined ? at + 1 : Math.max(at - PAGE_ROWS, 0)
  const end = at === -1 || before === undefined ? start + PAGE_ROWS : at
  const hasMore = before === undefined ? all.length > end : start > 0
  return slice({ data: all.slice(start, end), hasMore }, at === -1 ? {} : view)
}

type Section = {
  /** Also the name of the list in the URL. */
  id: string
  title: string
  caption: string
  columns: readonly string[]
  view: View
  /** The pages beside this one; absent: the list is not paged. */
  pages?: Pick<Slice<unknown>, 'newer' | 'older'>
  after?: Html
}

/**
 * A list of the dashboard. On a phone each row becomes a card, and each cell shows the name of its
 * column.
 */
export function section(
  { id, title, caption, columns, view, pages, after }: Section,
  rows: readonly (readonly HtmlValue[])[],
): Html {
  if (view.list !== undefined && view.list !== id) return html``
  const head = columns.map((name) => html`<th scope="col" role="columnheader">${name}</th>`)
  const body = rows.map(
    (cells) =>
      html`<tr role="row">${cells.map((cell, index) => html`<td role="cell" data-label="${columns[index] ?? ''}"><div>${cell}</div></td>`)}</tr>`,
  )
  const none = html`<tr role="row"><td role="cell" colspan="${columns.length}" class="soft">None yet.</td></tr>`
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>
<div class="records"><table role="table"><caption>${caption}</caption>
<thead role="rowgroup"><tr role="row">${head}</tr></thead>
<tbody role="rowgroup">${body.length > 0 ? body : none}</tbody></table></div>
${pages !== undefined && pager(view, id, title, pages)}${after}</section>`
}

function pager(
  view: View,
  list: string,
  title: string,
  { newer, older }: Pick<Slice<unknown>, 'newer' | 'older'>,
): Html {
  const link = (text: string, cursor: Record<string, string>) => {
    const query = new URLSearchParams({ account: view.account, list, ...cursor })
    return html`<a class="button" href="/?${query.toString()}">${text}</a> `
  }
  const single = view.list === list
  if (newer === null && older === null) return html``
  return html`<nav class="pager" aria-label="Pages of ${title}">
${newer !== null && link('Newest', {})}
${newer !== null && link('Newer', { before: newer })}
${older !== null && link('Older', { after: older })}
${!single && link('All', {})}</nav>`
}

/** A button that runs one command and leads back to the same view. */
export function commandButton(
  view: View,
  command: string,
  label: string,
  input: Record<string, string> = {},
): Html {
  return commandForm(view, command, label, html``, input)
}

/** A form with fields for one command. */
export function commandForm(
  view: View,
  command: string,
  label: string,
  fields: Html,
  input: Record<string, string> = {},
): Html {
  return html`<form class="inline" method="post" action="/_dashboard/${command}">
${hiddenFields(view, input)}${fields} <button type="submit">${label}</button></form>`
}

function hiddenFields({ account, list = '' }: View, input: Record<string, string>): Html[] {
  return Object.entries({ _account: account, _list: list, ...input }).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
  )
}

/** A field with an invisible label for screen readers, for narrow cells. */
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
