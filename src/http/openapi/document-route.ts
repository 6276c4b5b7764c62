import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { App } from '../route-deps.ts'
import { type ApiDocument, type Operation, operationsOf } from './api-document.ts'
import { REFERENCE_POLICY, referencePage } from './reference-page.ts'

const query = z.object({
  audience: z
    .enum(['sponsor'])
    .optional()
    .meta({ description: 'Only the operations that a key of this role may call.' }),
})

/** Of the page: its filter begins with `q`. */
const pageQuery = query.extend({ q: z.string().optional() })

type Audience = z.output<typeof query>['audience']

/** The forms in which the document is served. */
const FORMS = {
  json: {
    type: 'application/json; charset=utf-8',
    render: (document: ApiDocument) => JSON.stringify(document),
  },
  html: { type: 'text/html; charset=utf-8', render: referencePage },
}

/**
 * Adds `/openapi.json` and the page `/docs`. The document never changes while the process runs, so each
 * form of it is made once, at the first request for it, and kept compressed: 250 kB of JSON become
 * about 30 kB.
 *
 * @param whole the document; called after all routes have been added.
 */
export function documentRoutes(app: App, whole: () => ApiDocument): void {
  const made = new Map<string, Promise<ServedDocument>>()
  const served = (form: keyof typeof FORMS, audience: Audience): Promise<ServedDocument> => {
    const key = `${form} ${audience ?? ''}`
    const document = made.get(key) ?? serve(whole, form, audience)
    made.set(key, document)
    document.catch(() => made.delete(key))
    return document
  }
  async function send(
    form: keyof typeof FORMS,
    request: FastifyRequest,
    reply: FastifyReply,
    audience: Audience,
  ): Promise<FastifyReply> {
    const { etag, bodies } = await served(form, audience)
    void reply.header('etag', etag).header('vary', 'accept-encoding')
    if (request.headers['if-none-match'] === etag) return reply.status(304).send(null)
    const encoding = chooseEncoding(request.headers['accept-encoding'] ?? '')
    if (encoding !== 'identity') void reply.header('content-encoding', encoding)
    return reply.type(FORMS[form].type).send(bodies[encoding])
  }
  app.get(
    '/openapi.json',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getOpenapi',
        summary: 'This document as JSON',
        description:
          'Compressed with Brotli or gzip if the client accepts it. Send the ETag of the last response as `If-None-Match` to get 304 if the document has not changed.',
        tags: ['Operations'],
        querystring: query,
        response: { 200: z.looseObject({ openapi: z.string() }), 304: z.null() },
      },
    },
    // Bytes are sent as they are: the schema above describes them to readers only.
    async (request, reply) => send('json', request, reply as FastifyReply, request.query.audience),
  )
  app.get(
    '/docs',
    {
      config: { access: 'public', helmet: { contentSecurityPolicy: REFERENCE_POLICY } },
      schema: { hide: true, querystring: pageQuery },
    },
    async (request, reply) => send('html', request, reply, request.query.audience),
  )
}

type Encoding = 'br' | 'gzip' | 'identity'

// The default is 11: ten times the time for a tenth less.
const BROTLI = { [constants.BROTLI_PARAM_QUALITY]: 9 }

type ServedDocument = { etag: string; bodies: Record<Encoding, Buffer> }

async function serve(
  whole: () => ApiDocument,
  form: keyof typeof FORMS,
  audience: Audience,
): Promise<ServedDocument> {
  const document = audience === undefined ? whole() : onlyFor(whole(), audience)
  const identity = Buffer.from(FORMS[form].render(document, audience))
  const hash = createHash('sha256').update(identity).digest('base64url').slice(0, 22)
  return {
    // Weak: the same for every encoding.
    etag: `W/"${hash}"`,
    bodies: {
      identity,
      br: await promisify(brotliCompress)(identity, { params: BROTLI }),
      gzip: await promisify(gzip)(identity),
    },
  }
}

/** The smallest form that an Accept-Encoding header allows. https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3 */
function chooseEncoding(accepted: string): Encoding {
  const refused = /;\s*q=0(\.0*)?$/
  const names = accepted
    .split(',')
    .map((part) => part.trim().toLowerCase())
    .filter((part) => !refused.test(part))
    .map((part) => part.split(';')[0]?.trim())
  return (['br', 'gzip'] as const).find((name) => names.includes(name)) ?? 'identity'
}

/** The part of the document that a key of this role can use, with the components that it needs. */
function onlyFor(document: ApiDocument, role: NonNullable<Audience>): ApiDocument {
  const paths: ApiDocument['paths'] = {}
  for (const { path, method, operation } of operationsOf(document)) {
    if (!rolesOf(operation).includes(role)) continue
    const { parameters } = document.paths[path] ?? {}
    paths[path] ??= parameters === undefined ? {} : { parameters }
    paths[path][method] = operation
  }
  const used = new Set(operationsOf({ paths }).flatMap(({ operation }) => operation.tags))
  const tags = document.tags.filter(({ name }) => used.has(name))
  return { ...document, tags, paths, components: neededBy(paths, document) }
}

function rolesOf(operation: Operation): string[] {
  return (operation['x-access'] as { roles: string[] }).roles
}

const REFERENCE = /"#\/components\/(\w+)\/([^"]+)"/g

/** The components that the paths refer to, directly or through others; and the way to give a key. */
function neededBy(paths: ApiDocument['paths'], document: ApiDocument): ApiDocument['components'] {
  const { components } = document
  const all = components as unknown as Record<string, Record<string, unknown>>
  const needed: Record<string, Record<string, unknown>> = {}
  const open: unknown[] = [paths]
  while (open.length > 0) {
    for (const [, section = '', name = ''] of JSON.stringify(open.pop()).matchAll(REFERENCE)) {
      if (needed[section]?.[name] !== undefined) continue
      const component = all[section]?.[name]
      needed[section] = { ...needed[section], [name]: component }
      open.push(component)
    }
  }
  const schemes = new Set(
    operationsOf({ paths }).flatMap(({ operation }) =>
      (operation.security ?? document.security).flatMap(Object.keys),
    ),
  )
  const securitySchemes = Object.fromEntries(
    Object.entries(components.securitySchemes).filter(([name]) => schemes.has(name)),
  )
  // Sections that none of the paths needs stay empty.
  const empty = Object.fromEntries(Object.keys(all).map((section) => [section, {}]))
  return { ...empty, ...needed, securitySchemes } as ApiDocument['components']
}
