import { type Html, html, inlineMarkdown } from '../html.ts'
import type { ApiDocument, JsonSchema } from './api-document.ts'

/** A row of a table of fields. */
type Field = { name: string; required: boolean; schema: JsonSchema }

const asSchema = (part: unknown) => (part ?? {}) as JsonSchema
const schemasIn = (part: unknown) => (Array.isArray(part) ? (part as JsonSchema[]) : [])

/** The last part of a reference. */
export const nameIn = (reference: unknown) => String(reference).split('/').at(-1) ?? ''

/** A value of the document as text. */
const shown = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value)

const linkTo = (name: string) => html`<a href="#schema-${name}">${name}</a>`

const separated = (parts: readonly Html[], separator: Html | string): Html =>
  html`${parts.map((part, index) => (index === 0 ? part : html`${separator}${part}`))}`

/** What a value is: its type, its values or a link to its schema. */
export function typeOf(schema: JsonSchema): Html {
  if (schema['$ref'] !== undefined) return linkTo(nameIn(schema['$ref']))
  const variants = [...schemasIn(schema['oneOf']), ...schemasIn(schema['anyOf'])]
  if (variants.length > 0) return separated(variants.map(typeOf), ' or ')
  const [base] = schemasIn(schema['allOf'])
  if (base?.['$ref'] !== undefined) return typeOf(base)
  if (Array.isArray(schema['enum'])) {
    return separated(
      schema['enum'].map((value) => html`<code>${shown(value)}</code>`),
      ' ',
    )
  }
  if (schema['const'] !== undefined) return html`<code>${shown(schema['const'])}</code>`
  const types = [schema['type'] ?? 'any'].flat().map(String)
  return separated(
    types.map((type) => {
      if (type === 'array') return html`list of ${typeOf(asSchema(schema['items']))}`
      const members = schema['additionalProperties']
      if (type === 'object' && typeof members === 'object') {
        return html`map of ${typeOf(asSchema(members))}`
      }
      return html`${type === 'string' ? shown(schema['format'] ?? type) : type}`
    }),
    ' or ',
  )
}

/** The limits and the default of a value. */
function rulesOf(schema: JsonSchema): string[] {
  const range = (least: string, most: string, unit: string) => {
    const [from, to] = [schema[least], schema[most]]
    if (from === undefined && to === undefined) return []
    if (from === undefined) return [`at most ${shown(to)}${unit}`]
    return [
      to === undefined ? `at least ${shown(from)}${unit}` : `${shown(from)} to ${shown(to)}${unit}`,
    ]
  }
  const { pattern, default: preset, exclusiveMinimum } = schema
  return [
    ...range('minLength', 'maxLength', ' characters'),
    ...range('minItems', 'maxItems', ' items'),
    ...range('minProperties', 'maxProperties', ' entries'),
    ...range('minimum', 'maximum', ''),
    ...(exclusiveMinimum === undefined ? [] : [`greater than ${shown(exclusiveMinimum)}`]),
    ...(typeof pattern === 'string' ? [`pattern ${pattern}`] : []),
    ...(preset === undefined ? [] : [`default ${JSON.stringify(preset)}`]),
  ]
}

/** A row of a table of fields or parameters. */
export function rowOf(
  name: Html | string,
  required: boolean,
  schema: JsonSchema,
  text: unknown,
): Html {
  const rules = [...(required ? ['required'] : []), ...rulesOf(schema)].join(', ')
  const example = schema['example'] ?? schemasIn(schema['examples'])[0]
  const sample = typeof example === 'string' || typeof example === 'number' ? example : null
  return html`<tr><td>${name}</td><td>${typeOf(schema)}${rules === '' ? '' : html` <small>${rules}</small>`}</td><td>${inlineMarkdown(shown(text ?? ''))}${
    sample === null ? '' : html` <small>Example: <code>${sample}</code></small>`
  }</td></tr>\n`
}

/** The members of an object, those of objects inside it included: `checkout.url`, `items[].plan`. */
function fieldsOf(schema: JsonSchema, prefix: string): Field[] {
  const required = Array.isArray(schema['required']) ? (schema['required'] as string[]) : []
  return Object.entries(asSchema(schema['properties'])).flatMap(([member, part]) => {
    const name = prefix + member
    const field = { name, required: required.includes(member), schema: asSchema(part) }
    const items = asSchema(field.schema['items'])
    return [field, ...fieldsOf(field.schema, `${name}.`), ...fieldsOf(items, `${name}[].`)]
  })
}

/** A schema with its description, its fields and an example. */
export function describeSchema(name: string, schema: JsonSchema): Html {
  const parts = schemasIn(schema['allOf'])
  const bases = parts.filter((part) => part['$ref'] !== undefined)
  const fields = [schema, ...parts].flatMap((part) => fieldsOf(part, ''))
  const { description } = schema
  const [example] = schemasIn(schema['examples'])
  return html`<div class="schema" id="schema-${name}"><h4>${name}</h4>
${typeof description === 'string' ? html`<p>${inlineMarkdown(description)}</p>` : ''}
${bases.map((base) => html`<p>All fields of ${typeOf(base)}${fields.length > 0 ? ', and:' : '.'}</p>`)}
${
  fields.length > 0
    ? html`<table><tbody>${fields.map((one) => rowOf(html`<code>${one.name}</code>`, one.required, one.schema, one.schema['description']))}</tbody></table>`
    : bases.length > 0
      ? ''
      : html`<p>${typeOf(schema)} <small>${rulesOf(schema).join(', ')}</small></p>`
}
${example === undefined ? '' : html`<pre>${JSON.stringify(example, null, 2)}</pre>`}
</div>\n`
}

/** Follows a reference of the document. */
export function resolveIn<T extends object>(document: ApiDocument, part: T | { $ref: string }): T {
  if (!('$ref' in part) || typeof part.$ref !== 'string') return part as T
  const [section = '', name = ''] = part.$ref.split('/').slice(2)
  // The caller knows the type of the section.
  const components = document.components as unknown as Record<string, Record<string, T>>
  const found = components[section]?.[name]
  if (found === undefined) throw new Error(`${part.$ref} points nowhere`)
  return found
}
