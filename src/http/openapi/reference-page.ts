import { createHash } from 'node:crypto'
import { type Html, html, inlineMarkdown, markdown, page } from '../html.ts'
import {
  type Answer,
  type ApiDocument,
  type Example,
  type JsonSchema,
  type Media,
  type Operation,
  operationsOf,
  type Parameter,
} from './api-document.ts'
import { describeSchema, nameIn, resolveIn, rowOf, typeOf } from './reference-schemas.ts'
import { problemCodesOf } from './shared-components.ts'

/**
 * The reference of the API as one page: every operation and schema is in it as text, so that the browser's own
 * search finds all of it. It needs no other file and no script, except for the filter.
 *
 * @param audience the role whose operations the document has; undefined: all.
 */
export function referencePage(document: ApiDocument, audience: string | undefined): string {
  const { info } = document
  const parts = new ReferenceParts(document)
  const chapters = document.tags.map((tag) => parts.chapter(tag.name, tag.description))
  const body = html`<nav>
<label>Filter <input id="filter" type="search" placeholder="refund, cursor, stripe:sync …" autocomplete="off"></label>
<p id="found" role="status"></p>
${document.tags.map((tag) => parts.contents(tag.name))}
<p><a href="#schemas">Schemas</a><br><a href="#shared-errors">Shared errors</a></p>
</nav>
<main>
<h1>${info.title} API</h1>
<p>Version ${info.version} · <a href="/docs/try">Try it out</a> · <a href="/openapi.json${audience === undefined ? '' : `?audience=${audience}`}">OpenAPI 3.1</a> · <a href="/docs/errors">Errors</a> · ${
    audience === undefined
      ? html`All operations · <a href="/docs?audience=sponsor">For sponsors</a>`
      : html`<a href="/docs">All operations</a> · For ${audience}s`
  }</p>
<div class="text">${markdown(info.description)}</div>
${chapters}
<section><h2 id="schemas">Schemas</h2>${parts.otherSchemas()}</section>
<section><h2 id="shared-errors">Shared errors</h2>
<p>Operations of one sort have these errors in common.</p>
${parts.sharedErrors()}</section>
</main>`
  const title = `${info.title} API${audience === undefined ? '' : ` for ${audience}s`}`
  return page({ title, style: STYLE, body, script: SCRIPT })
}

/** Renders the parts of one document. A schema is shown where it is first a body, else in the last chapter. */
class ReferenceParts {
  readonly #document: ApiDocument
  readonly #shown = new Set<string>()

  constructor(document: ApiDocument) {
    this.#document = document
  }

  #operations(tag: string) {
    return operationsOf(this.#document).filter(({ operation }) => operation.tags.includes(tag))
  }

  contents(tag: string): Html {
    const entries = this.#operations(tag).map(
      ({ operation }) =>
        html`<li><a href="#${operation.operationId}">${operation.summary}</a></li>\n`,
    )
    return html`<div><h2>${tag}</h2><ul>${entries}</ul></div>\n`
  }

  chapter(tag: string, description: string): Html {
    const operations = this.#operations(tag).map(({ path, method, operation }) =>
      this.#operation(path, method, operation),
    )
    return html`<section><h2>${tag}</h2><p>${inlineMarkdown(description)}</p>${operations}</section>\n`
  }

  #operation(path: string, method: string, operation: Operation): Html {
    const { operationId, summary, description, requestBody, responses } = operation
    const parameters = [
      ...(this.#document.paths[path]?.parameters ?? []),
      ...(operation.parameters ?? []),
    ].map((one) => resolveIn<Parameter>(this.#document, one))
    return html`<article id="${operationId}"><h3>${summary}</h3>
<p class="call"><b class="${method}">${method.toUpperCase()}</b> <code>${path}</code> <small>${operationId}</small></p>
${description === undefined ? '' : html`<p>${inlineMarkdown(description)}</p>`}
<p>Callers: ${callersOf(operation)}</p>
${parameters.length === 0 ? '' : html`<h4>Parameters</h4><table><tbody>${parameters.map(parameterRow)}</tbody></table>`}
${requestBody === undefined ? '' : this.#body(requestBody)}
<h4>Responses</h4><ul>${Object.entries(responses).map(([status, answer]) => this.#answer(status, answer))}</ul>
</article>\n`
  }

  #body({ required, description, content }: NonNullable<Operation['requestBody']>): Html {
    const parts = Object.values(content).map((media) => {
      const name = media.schema['$ref'] === undefined ? null : nameIn(media.schema['$ref'])
      return html`${name === null ? html`<p>${typeOf(media.schema)}</p>` : this.#schemaOnce(name)}${this.#examples(media)}`
    })
    return html`<h4>Body${required === true ? '' : ' (optional)'}</h4>
${description === undefined ? '' : html`<p>${inlineMarkdown(description)}</p>`}${parts}`
  }

  #schemaOnce(name: string): Html {
    if (this.#shown.has(name)) return html`<p><a href="#schema-${name}">${name}</a></p>`
    this.#shown.add(name)
    return describeSchema(name, this.#document.components.schemas[name] ?? {})
  }

  #examples({ example, examples }: Media): Html {
    const named = Object.values(examples ?? {}).map((one) =>
      resolveIn<Example>(this.#document, one),
    )
    const all = example === undefined ? named : [{ value: example }, ...named]
    return html`${all.map(
      ({ summary, value }: Example) =>
        html`<p><small>Example${summary === undefined ? '' : `: ${summary}`}</small></p><pre>${
          typeof value === 'string' ? value : JSON.stringify(value, null, 2)
        }</pre>`,
    )}`
  }

  #answer(status: string, part: Operation['responses'][string]): Html {
    const answer = resolveIn<Answer>(this.#document, part)
    const codes = problemCodesOf(answer)
    if (status === 'default' && '$ref' in part) {
      const name = nameIn(part.$ref)
      return html`<li><a href="#response-${name}">Shared errors: ${name}</a></li>\n`
    }
    const contents = Object.entries(answer.content ?? {}).map(
      ([type, media]) =>
        html` ${codes.length > 0 ? codesOf(codes) : typeOf(media.schema)} <small>${type}</small>${this.#examples(media)}`,
    )
    return html`<li><b>${status}</b> ${inlineMarkdown(answer.description)}${contents}</li>\n`
  }

  otherSchemas(): Html {
    const { schemas } = this.#document.components
    const names = Object.keys(schemas).filter((name) => !this.#shown.has(name))
    return html`${names.map((name) => html`<article>${this.#schemaOnce(name)}</article>`)}`
  }

  sharedErrors(): Html {
    const used = new Set(
      operationsOf(this.#document).map(({ operation: { responses } }) =>
        '$ref' in (responses['default'] ?? {})
          ? nameIn((responses['default'] as { $ref: string }).$ref)
          : '',
      ),
    )
    return html`${[...used]
      .filter((name) => name !== '')
      .toSorted()
      .map((name) => {
        const answer = this.#document.components.responses[name]
        const codes = answer === undefined ? [] : problemCodesOf(answer)
        return html`<article id="response-${name}"><h4>${name}</h4><p>${codesOf(codes)}</p></article>\n`
      })}`
  }
}

const codesOf = (codes: readonly string[]): Html =>
  html`${codes.map((code) => html`<a href="/docs/errors#${code}"><code>${code}</code></a> `)}`

function parameterRow({
  name,
  in: place,
  required,
  description,
  schema,
  example,
}: Parameter): Html {
  const shown: JsonSchema = example === undefined ? schema : { ...schema, example }
  const label = html`<code>${name}</code> <small>${place}</small>`
  return rowOf(label, required === true, shown, description ?? schema['description'])
}

/** `operator, staff with purchases:write, sponsor`. */
function callersOf(operation: Operation): string {
  const { roles, scopes } = operation['x-access'] as { roles: string[]; scopes?: string[] }
  return roles
    .map((role) =>
      role === 'staff' && scopes !== undefined ? `staff with ${scopes.join(' or ')}` : role,
    )
    .join(', ')
}

const STYLE = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { margin: 0; display: grid; grid-template-columns: 18rem minmax(0, 1fr) }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; box-sizing: border-box; font-size: .9rem }
nav h2 { font-size: 1rem; margin: 1rem 0 .2rem }
nav ul { list-style: none; margin: 0; padding: 0 }
main { padding: 1rem 2rem 6rem; max-width: 64rem }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .3rem }
article { border-top: 1px solid #8886; margin-top: 2rem }
article:target, .schema:target { outline: 2px solid; outline-offset: .3rem }
code, pre { font: .875em/1.45 ui-monospace, monospace; overflow-wrap: anywhere }
pre { background: #8881; padding: .8rem; white-space: pre-wrap }
table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid #8884; padding: .3rem .6rem .3rem 0; text-align: left; vertical-align: top }
td:first-child { width: 26% }
small { opacity: .75 }
nav div:not(:has(li:not([hidden]))), section:has(article):not(:has(article:not([hidden]))) { display: none }
.call b { display: inline-block; min-width: 4rem }
@media (max-width: 50rem) { body { display: block } nav { position: static; height: auto } main { padding: 1rem } }
`

// Hides the operations and schemas that lack one of the words.
const SCRIPT = `
const box = document.getElementById('filter')
const found = document.getElementById('found')
const parts = [...document.querySelectorAll('article')]
const texts = parts.map((part) => part.textContent.toLowerCase())
const links = new Map([...document.querySelectorAll('nav li a')].map((a) => [a.hash.slice(1), a.parentElement]))
function filter() {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean)
  let shown = 0
  parts.forEach((part, index) => {
    part.hidden = !words.every((word) => texts[index].includes(word))
    const link = links.get(part.id)
    if (link) link.hidden = part.hidden
    if (!part.hidden) shown += 1
  })
  found.textContent = words.length === 0 ? '' : shown + ' of ' + parts.length
}
box.addEventListener('input', filter)
addEventListener('hashchange', () => {
  const target = document.getElementById(location.hash.slice(1))
  if (!target || !target.closest('[hidden]')) return
  box.value = ''
  filter()
  target.scrollIntoView()
})
addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.target === box) return
  event.preventDefault()
  box.focus()
})
box.value = new URLSearchParams(location.search).get('q') ?? ''
filter()
`

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** Only the page's own style and script, by their hashes; nothing is loaded from anywhere. */
export const REFERENCE_POLICY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    styleSrc: [hashOf(STYLE)],
    scriptSrc: [hashOf(SCRIPT)],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
}
