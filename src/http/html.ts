/** A piece of a page, safe to send. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

type Part = string | number | Html | readonly Part[]

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

const escapeText = (text: string) => text.replaceAll(/[&<>"]/g, (sign) => ENTITIES[sign] ?? sign)

function render(part: Part): string {
  if (part instanceof Html) return part.text
  if (typeof part === 'object') return part.map(render).join('')
  return escapeText(String(part))
}

/** A template of HTML. Texts in it are escaped; pieces and lists of pieces are inserted. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(String.raw({ raw: strings }, ...parts.map(render)))
}

/** One line of Markdown: code in backticks, and bold. */
export function inlineMarkdown(text: string): Html {
  const line = escapeText(text)
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')
    .replaceAll(/\*\*([^*]+)\*\*/g, '<strong>$1</strong>')
  return new Html(line)
}

/** A text in the Markdown that openapi.yaml uses: headings, paragraphs, lists, tables and code. */
export function markdown(text: string): Html {
  // Code and other text alternate.
  const blocks = text
    .split(/^```\w*\n/m)
    .map((block, index) =>
      index % 2 === 1 ? html`<pre>${block.trimEnd()}</pre>` : plainBlocks(block),
    )
  return html`${blocks}`
}

function plainBlocks(text: string): Html {
  return html`${text
    .split(/\n{2,}/)
    .filter((block) => block.trim() !== '')
    .map(toBlock)}`
}

function toBlock(block: string): Html {
  const lines = block.trim().split('\n')
  const [first = ''] = lines
  if (first.startsWith('## ')) return html`<h3>${inlineMarkdown(first.slice(3))}</h3>`
  if (first.startsWith('- ')) {
    const items = block.trim().slice(2).split(/\n- /)
    return html`<ul>${items.map((item) => html`<li>${inlineMarkdown(item.replaceAll(/\s+/g, ' '))}</li>`)}</ul>`
  }
  if (first.startsWith('| ')) return toTable(lines)
  return html`<p>${inlineMarkdown(lines.join(' '))}</p>`
}

function toTable([head = '', , ...rows]: readonly string[]): Html {
  const cells = (row: string) => row.split('|').slice(1, -1)
  const headings = cells(head).map((cell) => html`<th>${cell.trim()}</th>`)
  const body = rows.map(
    (row) =>
      html`<tr>${cells(row).map((cell) => html`<td>${inlineMarkdown(cell.trim())}</td>`)}</tr>`,
  )
  return html`<table><thead><tr>${headings}</tr></thead><tbody>${body}</tbody></table>`
}

/** A page without any other file. Its policy must allow the style and the script. */
export function page(parts: { title: string; style: string; body: Html; script?: string }): string {
  const { title, style, body, script } = parts
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>${new Html(style)}</style>
</head>
<body>
${body}
${script === undefined ? '' : new Html(`<script>${script}</script>`)}
</body>
</html>
`.text
}
