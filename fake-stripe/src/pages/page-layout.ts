import type { FastifyReply } from 'fastify'

const STYLE = `
:root { color-scheme: light; --ink: #1a1f36; --soft: #4f566b; --line: #d8dee8; --accent: #4b3fe4; --bad: #b3093c; --good: #0b6b3a; }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f6f8fb }
main { max-width: 84rem; margin: 0 auto; padding: 1.5rem }
main.narrow { max-width: 34rem }
h1 { font-size: 1.5rem; margin: .2rem 0 1rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem; margin-bottom: 1rem }
.mode { background: #fff4d6; border-bottom: 1px solid #e5cf8f; padding: .4rem 1rem; text-align: center; font-size: .9rem }
.records { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 10px }
.records td > div { min-width: 6.5rem; overflow-wrap: anywhere } .records td:nth-child(2) > div { min-width: 14rem } .records td:nth-child(3) > div { min-width: 9.5rem } .records td:last-child > div { min-width: 11rem }
.pager { margin: .6rem 0 }
table { border-collapse: collapse; width: 100% } caption { text-align: left; padding: .6rem .8rem; color: var(--soft) }
th, td { text-align: left; padding: .45rem .8rem; border-top: 1px solid var(--line); vertical-align: top }
th { font-size: .85rem; color: var(--soft) } .amount { text-align: right; font-variant-numeric: tabular-nums }
tfoot th, tfoot td { font-size: 1rem; font-weight: 600; color: var(--ink) }
code { font-size: .85em; overflow-wrap: anywhere }
form.inline { display: inline-block; margin: 0 .3rem .3rem 0 }
label { display: block; font-weight: 600; margin: .7rem 0 .25rem } .inline label, .row label { display: inline-block; font-weight: 400; margin: 0 .3rem 0 0 }
input, select { font: inherit; padding: .4rem .55rem; border: 1px solid #7a8296; border-radius: 6px; background: #fff; color: inherit; max-width: 100% }
input.wide { width: 100% } input.short { width: 8.5rem }
button, .button { font: inherit; padding: .4rem .8rem; border: 1px solid #7a8296; border-radius: 6px; background: #fff; color: var(--ink); cursor: pointer; text-decoration: none; display: inline-block }
button.main { background: var(--accent); border-color: var(--accent); color: #fff; width: 100%; padding: .7rem; font-weight: 600 }
.choices button, .choices .button { width: 100%; margin-top: .5rem; text-align: center }
:focus-visible { outline: 3px solid #f0a500; outline-offset: 2px }
.state { padding: .05rem .5rem; border-radius: 1rem; border: 1px solid currentColor; font-size: .82rem; white-space: nowrap }
.good { color: var(--good) } .bad { color: var(--bad) } .soft { color: var(--soft) }
.notice { border-left: 4px solid var(--good); background: #eaf7ef; padding: .6rem .9rem; margin: 0 0 1rem; overflow-wrap: anywhere }
.problem { border-left: 4px solid var(--bad); background: #fdecef; padding: .6rem .9rem; margin: 0 0 1rem; overflow-wrap: anywhere }
nav a { margin-right: .9rem } nav.pager a { margin-right: .3rem }
select { text-overflow: ellipsis }
@media (max-width: 45rem) {
  main { padding: 1rem .75rem }
  .records { overflow: visible; background: none; border: 0 }
  .records table, .records tbody, .records tr, .records caption { display: block }
  .records caption { padding: 0 .2rem .5rem }
  .records thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .records tr { background: #fff; border: 1px solid var(--line); border-radius: 10px; margin-bottom: .7rem; padding: .35rem 0 }
  .records td { display: grid; grid-template-columns: 6rem minmax(0, 1fr); gap: .6rem; border: 0; padding: .25rem .75rem }
  .records td[data-label]::before { content: attr(data-label); color: var(--soft); font-size: .85rem; padding-top: .1rem }
  .records td > div { min-width: 0 !important } .records td:has(> div:empty) { display: none }
  form.inline { max-width: 100% } nav a { display: inline-block; padding: .25rem 0 } button, .button, nav a { min-height: 2.4rem }
}
`

export type Page = { title: string; body: Html; narrow?: boolean; banner?: string }

/** Sends a page: self-contained, without scripts, and not to be framed. */
export function sendPage(reply: FastifyReply, page: Page, status = 200): FastifyReply {
  return (
    reply
      .code(status)
      .type('text/html; charset=utf-8')
      // No form-action: browsers would also apply it to the redirect back to the merchant's site.
      .header(
        'Content-Security-Policy',
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
      )
      .header('X-Content-Type-Options', 'nosniff')
      .header('Referrer-Policy', 'no-referrer')
      .header('Cache-Control', 'no-store')
      .send(layout(page).markup)
  )
}

function layout({ title, body, narrow = false, banner }: Page): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${{ markup: STYLE }}</style>
</head>
<body>
${banner !== undefined && html`<div class="mode">${banner}</div>`}
<main class="${narrow ? 'narrow' : 'wide'}">
${body}
</main>
</body>
</html>
`
}

/** Text that is safe to insert into a page; only `html` creates it. */
export type Html = { readonly markup: string }

export type HtmlValue = Html | readonly Html[] | string | number | null | undefined | false

/** A template that escapes its values, unless they are `Html`. */
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

/** For `href`: allows only web addresses, because a URL of a client could contain a script. */
export function safeHref(url: string): string {
  return /^https?:\/\//i.test(url) || url.startsWith('/') ? url : '#'
}
