import type { SwaggerTransform } from '@fastify/swagger'
import { createJsonSchemaTransform } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { simplify } from './readable-schema.ts'

export const ZOD_TO_JSON = { override: simplify }

/** Whether a request without a body breaks the schema, which JSON Schema cannot say. */
function isRequired(body: unknown): boolean {
  return body instanceof z.ZodType && !body.safeParse(undefined).success
}

/**
 * Turns a route's zod schemas into JSON Schema and notes what finish-document.ts needs of it. A new
 * one for each app: the library remembers the schemas that it saw first.
 */
export function createRouteTransform(): SwaggerTransform {
  const toJsonSchema = createJsonSchemaTransform({ zodToJsonConfig: ZOD_TO_JSON })
  return (input) => {
    // Ours are zod's, which is what the transform takes.
    const { schema, url } = toJsonSchema(input as Parameters<typeof toJsonSchema>[0])
    const { access, rateLimit } = input.route.config ?? {}
    const route = {
      access,
      bodyRequired: isRequired(input.schema?.body),
      rateLimited: rateLimit !== false,
    }
    return { schema: { ...schema, 'x-route': route }, url }
  }
}
