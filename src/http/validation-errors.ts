import type { FastifyInstance } from 'fastify'
import { invalidField } from '../shared/errors.ts'

const RULE = 'must not contain the character U+0000'

/** `~` and `/` as RFC 6901 spells them inside a pointer. */
export function pointerPart(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

/** The pointer of a text with U+0000, or null. Not recursive: JSON may nest deeper than our stack. */
function findNul(value: unknown, pointer: string): string | null {
  const open: [unknown, string][] = [[value, pointer]]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [part, at] = next
    if (typeof part === 'string' && part.includes('\0')) return at
    if (typeof part !== 'object' || part === null || Buffer.isBuffer(part)) continue
    for (const [name, member] of Object.entries(part)) {
      open.push([member, `${at}/${pointerPart(name)}`])
    }
  }
  return null
}

/** Postgres has no U+0000 in text, so it is refused at the door, whatever the field. */
export function rejectNulCharacters(app: FastifyInstance): void {
  // In onRequest, since the auth hook already looks for the conference of the path.
  app.addHook('onRequest', async ({ params, query }) => {
    const pointer = findNul(params, 'params') ?? findNul(query, 'query')
    if (pointer !== null) throw invalidField(pointer, RULE)
  })
  app.addHook('preValidation', async ({ body }) => {
    const pointer = findNul(body, '')
    if (pointer !== null) throw invalidField(pointer, RULE)
  })
}
