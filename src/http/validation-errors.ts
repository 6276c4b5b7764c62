import type { FastifyError, FastifyInstance, FastifyRequest } from 'fastify'
import { describeIssue, type Issue } from '../shared/describe-issue.ts'
import { type FieldError, invalidField } from '../shared/errors.ts'

type Part = { prefix: string; value: (request: FastifyRequest) => unknown }

/** The parts of a request that have a schema, by fastify's name for them. */
const PARTS: Record<string, Part> = {
  body: { prefix: '', value: (request) => request.body },
  querystring: { prefix: 'query', value: (request) => request.query },
  params: { prefix: 'params', value: (request) => request.params },
  headers: { prefix: 'header', value: (request) => request.headers },
}

/** The broken rules of a request that does not match its schema. */
export function fieldErrorsOf(error: FastifyError, request: FastifyRequest): FieldError[] {
  const { prefix, value } = PARTS[error.validationContext ?? 'body'] ?? {
    prefix: '',
    value: () => null,
  }
  return (error.validation ?? []).flatMap((found): FieldError[] => {
    // The path of the whole part is `/`, which would put two slashes into a member's pointer.
    const path = found.instancePath === '/' ? '' : found.instancePath
    const base = `${prefix}${path}`
    // fastify-type-provider-zod passes zod's issue on: `keyword` is its code, `params` the rest.
    const issue: Issue = { ...found.params, code: found.keyword, message: found.message ?? '' }
    if (issue.code === 'unrecognized_keys' && issue.keys !== undefined) {
      const detail = 'is not a known field'
      return issue.keys.map((key) => ({ pointer: `${base}/${escapePointer(key)}`, detail }))
    }
    const isMissing = memberAt(value(request), path) === undefined
    return [{ pointer: base === '' ? '/' : base, detail: describeIssue(issue, isMissing) }]
  })
}

function memberAt(whole: unknown, path: string): unknown {
  const names = path.split('/').slice(1)
  return names.reduce<unknown>((value, name) => Object(value)[name], whole)
}

/** A member's name as RFC 6901 spells it in a JSON pointer. */
function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

/** Refuses text that Postgres cannot store: U+0000, and half of a surrogate pair, which is not Unicode. */
export function rejectUnstorableText(app: FastifyInstance): void {
  const detail = 'must not contain the character U+0000 or an unpaired surrogate'
  // In onRequest, because the access hook looks up the conference of the path.
  app.addHook('onRequest', async ({ params, query }) => {
    const pointer = findUnstorable(params, 'params') ?? findUnstorable(query, 'query')
    if (pointer !== null) throw invalidField(pointer, detail)
  })
  app.addHook('preValidation', async ({ body }) => {
    const pointer = findUnstorable(body, '')
    if (pointer !== null) throw invalidField(pointer, detail)
  })
}

const isUnstorable = (text: string) => text.includes('\0') || !text.isWellFormed()

/** The pointer of such a text, or null. Not recursive: JSON may nest deeper than our stack. */
function findUnstorable(value: unknown, pointer: string): string | null {
  const open: [unknown, string][] = [[value, pointer]]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [part, at] = next
    if (typeof part === 'string' && isUnstorable(part)) return at
    if (typeof part !== 'object' || part === null || Buffer.isBuffer(part)) continue
    for (const [name, member] of Object.entries(part)) {
      if (isUnstorable(name)) return at
      open.push([member, `${at}/${escapePointer(name)}`])
    }
  }
  return null
}
