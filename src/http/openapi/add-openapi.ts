import swagger, { type SwaggerTransform, type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifySchema } from 'fastify'
import {
  createJsonSchemaTransform,
  createJsonSchemaTransformObject,
} from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { App } from '../route-deps.ts'
import type { ApiDescription, ApiDocument } from './api-document.ts'
import { documentRoutes } from './document-route.ts'
import { finishDocument } from './finish-document.ts'
import { simplify } from './tidy-document.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Routes that share this object are one operation of the document. */
    documentedAs?: DocumentedRoute
  }
}

/** One operation of the document that several routes serve, such as one for each resource. */
export type DocumentedRoute = { url: string; schema: FastifySchema }

const ZOD_TO_JSON = { override: simplify }

const addComponents = createJsonSchemaTransformObject({ zodToJsonConfig: ZOD_TO_JSON })

// Swagger UI uses inline styles; everything else comes from this service.
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
 * Collects every route that is added from now on into one OpenAPI document.
 *
 * @returns a function that adds `/openapi.json` and `/docs`. The server calls it after it has added its
 *   hooks, so that they apply to these pages too.
 */
export async function addOpenapi(
  app: App,
  description: ApiDescription,
): Promise<() => Promise<void>> {
  const { info, servers, tags } = description
  const finish: SwaggerTransformObject = (input) =>
    // The library's types for the document are wider than ours.
    finishDocument(
      addComponents(input) as ApiDocument,
      description,
    ) as ReturnType<SwaggerTransformObject>
  await app.register(swagger, {
    openapi: { openapi: '3.1.1', info, servers, tags, components: {} },
    convertConstToEnum: false,
    transform: createRouteTransform(),
    transformObject: finish,
  })
  let isAddingDocs = false
  // The plugin's routes cannot set an access rule. This hook runs before the onRoute of the auth hook.
  app.addHook('onRoute', (route) => {
    if (!isAddingDocs) return
    // @fastify/helmet reads the settings of a route here; its onRoute has run already.
    const helmet = { contentSecurityPolicy: DOCS_POLICY }
    route.config = Object.assign({ ...route.config, access: 'public' as const }, { helmet })
  })
  return async () => {
    // As above: our type is narrower.
    documentRoutes(app, () => ({ ...(app.swagger() as ApiDocument), openapi: '3.1.1' }))
    isAddingDocs = true
    await app.register(swaggerUi, {
      routePrefix: '/docs/try',
      theme: { title: `Try the ${info.title} API` },
      // `x-access` shows who may call an operation.
      uiConfig: {
        persistAuthorization: true,
        showExtensions: true,
        docExpansion: 'none',
        filter: true,
      },
    })
    isAddingDocs = false
  }
}

/**
 * Turns a route's zod schemas into JSON Schema and adds the facts that finish-document.ts needs. One
 * transform for each app: the library remembers the schemas that it saw first.
 */
function createRouteTransform(): SwaggerTransform {
  const toJsonSchema = createJsonSchemaTransform({ zodToJsonConfig: ZOD_TO_JSON })
  const documented = new Set<DocumentedRoute>()
  return (input) => {
    const { access, rateLimit, documentedAs } = input.route.config ?? {}
    if (documentedAs !== undefined && documented.has(documentedAs)) {
      return { schema: { hide: true }, url: input.url }
    }
    if (documentedAs !== undefined) documented.add(documentedAs)
    const shown = { ...input, ...documentedAs }
    // All our schemas are zod schemas, which the transform expects.
    const { schema, url } = toJsonSchema(shown as Parameters<typeof toJsonSchema>[0])
    const route = {
      access,
      bodyRequired: isRequired(shown.schema?.body),
      rateLimited: rateLimit !== false,
    }
    return { schema: { ...schema, 'x-route': route }, url }
  }
}

/** Whether a request without a body breaks the schema, which JSON Schema cannot say. */
function isRequired(body: unknown): boolean {
  return body instanceof z.ZodType && !body.safeParse(undefined).success
}
