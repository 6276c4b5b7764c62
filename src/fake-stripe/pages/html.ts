/** Text that is safe to put into a page: only `html` makes it. */
export type Html = { readonly markup: string }

export type HtmlValue = Html | readonly Html[] | string | number | null | undefined | false

/** A template whose values are escaped, unless they are `Html` themselves. */
export function html(strings: TemplateStringsArray, ...values: HtmlValue[]): Html {
  const parts = strings.map(
    (text, index) => text + (index < values.length ? render(values[index]) : ''),
  )
  return { markup: parts.join('') }
}

function render(value: HtmlValue): string {
  if (value === null || value === undefined || value === false) return ''
  if (typeof value === 'string') return escapeHtml(value)
  if (typeof value === 'number') return String(value)
  if (isHtml(value)) return value.markup
  return value.map((item) => item.markup).join('')
}

function isHtml(value: Html | readonly Html[]): value is Html {
  return 'markup' in value
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
}

/** For `href`: only web addresses, so that no script can hide in a URL that a client has set. */
export function safeHref(url: string): string {
  return /^https?:\/\//i.test(url) || url.startsWith('/') ? url : '#'
}
