import type { z } from 'zod'
import type { JsonSchema } from './api-document.ts'

// zod prints the whole rule of these as a regular expression of up to 250 characters.
const FORMATS_THAT_SAY_IT = ['date-time', 'date', 'email', 'uri']

/**
 * zod's `override`: takes out of a generated schema what nobody wrote and nobody reads. An answer
 * stays open, so that a member can be added to it without breaking a client that validates.
 */
export function simplify(context: { zodSchema: z.core.$ZodTypes; jsonSchema: JsonSchema }): void {
  const { jsonSchema: schema, zodSchema } = context
  if (FORMATS_THAT_SAY_IT.includes(String(schema['format']))) delete schema['pattern']
  if (schema['minimum'] === Number.MIN_SAFE_INTEGER) delete schema['minimum']
  if (schema['maximum'] === Number.MAX_SAFE_INTEGER) delete schema['maximum']
  const { def } = zodSchema._zod
  if (def.type === 'object' && def.catchall === undefined) delete schema['additionalProperties']
}

/** `{ anyOf: [X, null] }` with a plain X, as the one schema `{ ...X, type: [X, null] }`. */
function withPlainNull(schema: JsonSchema): JsonSchema {
  const { anyOf, ...rest } = schema
  if (!Array.isArray(anyOf) || anyOf.length !== 2) return schema
  const [value, empty] = anyOf as JsonSchema[]
  if (empty?.['type'] !== 'null' || typeof value?.['type'] !== 'string') return schema
  const enumeration = value['enum']
  return {
    ...value,
    ...rest,
    type: [value['type'], 'null'],
    ...(Array.isArray(enumeration) ? { enum: [...enumeration, null] } : {}),
  }
}

/** The type first, where a reader looks for it. A member that is called `type` is no type. */
function typeFirst({ type, ...rest }: JsonSchema): JsonSchema {
  if (type === undefined) return rest
  return typeof type === 'string' || Array.isArray(type) ? { type, ...rest } : { ...rest, type }
}

/** Every schema below `part` in the short spelling. Changes nothing in place. */
export function spellShort<T>(part: T): T {
  // The shape is kept: only schemas are replaced by schemas.
  if (Array.isArray(part)) return part.map(spellShort) as T
  if (typeof part !== 'object' || part === null) return part
  const members = Object.entries(part).map(([name, value]) => [name, spellShort(value)])
  return typeFirst(withPlainNull(Object.fromEntries(members) as JsonSchema)) as T
}
