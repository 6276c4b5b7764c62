import swagger, { type SwaggerTransform, type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import {
  createJsonSchemaTransform,
  createJsonSchemaTransformObject,
} from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { App } from '../route-deps.ts'
import type { ApiDocs, ApiDocument } from './api-document.ts'
import { finishDocument } from './finish-document.ts'
import { simplify } from './tidy-document.ts'

const ZOD_TO_JSON = { override: simplify }

/** Whether a request without a body breaks the schema, which JSON Schema cannot say. */
function isRequired(body: unknown): boolean {
  return body instanceof z.ZodType && !body.safeParse(undefined).success
}

/**
 * Turns a route's zod schemas into JSON Schema and notes what finish-document.ts needs of it. A new
 * one for each app: the library remembers the schemas that it saw first.
 */
function createRouteTransform(): SwaggerTransform {
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

/** The words of the document; the rest comes from the routes. */
export type ApiDescription = Pick<ApiDocument, 'info' | 'servers' | 'tags'> & {
  operations: ApiDocs
}

const addComponents = createJsonSchemaTransformObject({ zodToJsonConfig: ZOD_TO_JSON })

// Swagger UI styles its elements in place; everything comes from this service and nothing else.
const DOCS_POLICY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'self'"],
    imgSrc: ["'self'", 'data:'],
    styleSrc: ["'self'", "'unsafe-inline'"],
    objectSrc: ["'none'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"],
  },
}

/**
 * Collects every route from now on into one OpenAPI document.
 *
 * @returns a function that adds `/openapi.json` and `/docs`. Called after the other hooks of the
 *   server, so that they hold for these pages too.
 */
export async function addOpenapi(
  app: App,
  { operations, info, servers, tags }: ApiDescription,
): Promise<() => Promise<void>> {
  const finish: SwaggerTransformObject = (input) =>
    // The library's own types for the document are wider than what our routes make of it.
    finishDocument(
      addComponents(input) as ApiDocument,
      operations,
    ) as ReturnType<SwaggerTransformObject>
  await app.register(swagger, {
    openapi: { openapi: '3.1.1', info, servers, tags, components: {} },
    convertConstToEnum: false,
    transform: createRouteTransform(),
    transformObject: finish,
  })
  let isAddingDocs = false
  // The plugin's routes cannot name an access rule themselves. Before the auth hook's own onRoute.
  app.addHook('onRoute', (route) => {
    if (!isAddingDocs) return
    // Where @fastify/helmet keeps a route's own settings; its onRoute has run already.
    const helmet = { contentSecurityPolicy: DOCS_POLICY }
    route.config = Object.assign({ ...route.config, access: 'public' as const }, { helmet })
  })
  return async () => {
    app.get(
      '/openapi.json',
      {
        config: { access: 'public' },
        schema: {
          operationId: 'getOpenapi',
          summary: 'This document as JSON',
          tags: ['Operations'],
          response: { 200: z.looseObject({ openapi: z.string() }) },
        },
      },
      async () => ({ openapi: '3.1.1', ...app.swagger() }),
    )
    isAddingDocs = true
    await app.register(swaggerUi, {
      routePrefix: '/docs',
      uiConfig: { persistAuthorization: true },
    })
    isAddingDocs = false
  }
}
