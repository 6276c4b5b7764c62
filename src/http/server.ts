import type { OutgoingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import {
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { customAlphabet } from 'nanoid'
import { AppError } from '../shared/errors.ts'
import { loggerOfRequest } from '../shared/logger.ts'
import type { Tracer } from '../shared/work-context.ts'
import { type AuthPorts, addAuthHook } from './access-control.ts'
import { errorPageRoute } from './error-page.ts'
import { addReplayHeader } from './idempotency.ts'
import { addOpenapi } from './openapi/add-openapi.ts'
import type { ApiDescription } from './openapi/api-document.ts'
import { addProblemHandlers, sendProblem, sendUnreadableRequest } from './problem.ts'
import { addReadinessGate, type Lifecycle } from './readiness.ts'
import { addRequestWork } from './request-work.ts'
import type { App } from './route-deps.ts'
import { rejectUnstorableText } from './validation-errors.ts'
import { addWebPages } from './web-pages.ts'

const randomPart = customAlphabet('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 20)
const newRequestId = () => `req_${randomPart()}`

/** Webhooks have their own limit. */
const BODY_LIMIT_BYTES = 256 * 1024

export type ServerOptions = {
  logger: FastifyBaseLogger
  trustProxy: boolean | number | string[]
  rateLimitPerMinute: number
  publicUrl: string | null
  /** Web pages of these origins may call the API; `*`: of all. */
  corsOrigins: readonly string[]
  auth: AuthPorts
  api: ApiDescription
  lifecycle: Lifecycle
  /** Null: requests are not traced. */
  tracer: Tracer | null
}

/**
 * The HTTP server without the routes of the domains: validation, access control, problem documents,
 * security headers, limits, request ids and the request log. It does not listen; app.ts adds routes.
 */
export async function createServer(options: ServerOptions): Promise<App> {
  const app = Fastify({
    loggerInstance: options.logger,
    // addRequestLog below logs requests without URLs.
    logController: new LogController({ disableRequestLogging: true }),
    childLoggerFactory: (logger, bindings, settings) =>
      loggerOfRequest(logger.child(bindings, settings)),
    bodyLimit: BODY_LIMIT_BYTES,
    trustProxy: proxyTrust(options.trustProxy),
    // A caller's own id is kept when it is safe to log, so that both sides can find the request.
    genReqId: (request) => {
      const given = request.headers['x-request-id']
      return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : newRequestId()
    },
    forceCloseConnections: 'idle',
    // The readiness gate answers with a problem document.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) =>
      sendUnreadableRequest(error, socket, {
        requestId: newRequestId(),
        publicUrl: options.publicUrl,
        logger: options.logger,
      }),
    frameworkErrors: (error, request, reply) => sendProblem(request, reply, error),
    // Above every limit of a path parameter, so that the schema refuses a longer one and names it.
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 500 },
  }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  closeIdleConnectionsOnShutdown(app)
  addRequestWork(app, options.tracer)
  addProblemHandlers(app, options.publicUrl)
  addReplayHeader(app)
  addRequestLog(app, options.logger)
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('request-id', request.id)
  })
  await addSecurityHeaders(app)
  await allowOrigins(app, options.corsOrigins)
  rejectUnstorableText(app)
  allowEmptyBody(app)
  await app.register(cookie)
  const addDocs = await addOpenapi(app, options.api)
  addReadinessGate(app, options.lifecycle)
  addAuthHook(app, options.auth)
  await app.register(rateLimit, {
    max: options.rateLimitPerMinute,
    timeWindow: 60_000,
    hook: 'preHandler', // after authentication, so that each key has its own limit from any address
    keyGenerator: (request) => request.principal?.id ?? request.ip,
    allowList: (request) => request.routeOptions.config.access === 'stripe',
    errorResponseBuilder: (_request, context) =>
      new AppError(
        'rate_limited',
        `The limit is ${context.max} requests per minute. Retry after the number of seconds in the header Retry-After.`,
        {
          retryAfterSeconds: Math.max(1, Math.ceil(context.ttl / 1000)),
        },
      ),
  })
  await addDocs()
  errorPageRoute(app)
  await addWebPages(app)
  return app
}

/** A server for probes and metrics alone: no callers, limits and pages. It does not listen. */
export function createProbeServer(logger: FastifyBaseLogger): App {
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newRequestId,
    // Nothing is lost: Prometheus keeps its connection open.
    forceCloseConnections: true,
    frameworkErrors: (error, request, reply) => sendProblem(request, reply, error),
  }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  addProblemHandlers(app, null)
  return app
}

/**
 * Lets web pages of other origins call the API with a key. Session cookies are not for them.
 *
 * @see https://fetch.spec.whatwg.org/#http-cors-protocol
 */
async function allowOrigins(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return
  await app.register(cors, {
    origin: origins.includes('*') ? '*' : [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key', 'X-Request-Id'],
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: 600, // seconds
  })
}

/** What a page may read of a response, beside the headers that it may always read. */
const EXPOSED_HEADERS = [
  'Request-Id',
  'Retry-After',
  'Idempotent-Replayed',
  'Allow',
  'Content-Disposition',
  'ETag',
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
]

/**
 * Adds helmet's headers to every response. Pages such as /docs have their own policy in `config.helmet`. All
 * other responses have the same headers, which helmet would compute for each.
 */
async function addSecurityHeaders(app: App): Promise<void> {
  await app.register(helmet, {
    global: false,
    // The API answers only JSON.
    contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  })
  let headers: OutgoingHttpHeaders | null = null
  app.addHook('onRequest', async (request, reply) => {
    if ('helmet' in request.routeOptions.config) return
    if (headers === null) {
      reply.helmet()
      // fastify adds its own headers when it sends the response.
      headers = reply.raw.getHeaders()
      return
    }
    for (const [name, value = ''] of Object.entries(headers)) reply.raw.setHeader(name, value)
  })
}

/** A number counts the trusted proxies in front of the service; fastify takes that as a function. */
function proxyTrust(setting: boolean | number | string[]) {
  return typeof setting === 'number' ? (_: string, hop: number) => hop < setting : setting
}

/**
 * Logs one line for each request, with the route's pattern instead of its URL: some URLs contain a
 * voucher code, which is a secret.
 */
function addRequestLog(app: FastifyInstance, logger: FastifyBaseLogger): void {
  // No field of the line can be a secret, and redaction costs as much as the rest of the line.
  const log = logger.child({}, { redact: [] })
  app.addHook('onResponse', async (request, reply) => {
    const line = {
      ...request.work?.subject,
      reqId: request.id,
      method: request.method,
      route: request.routeOptions.url ?? 'unknown',
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      ...(request.principal === null ? {} : { caller: request.principal.id }),
    }
    if (request.routeOptions.config.access === 'public') log.debug(line, 'request')
    else log.info(line, 'request')
  })
}

/**
 * Accepts a content type on a request without a body, which many clients send with DELETE. Without
 * this, fastify tries to parse the empty body and refuses the request.
 */
function allowEmptyBody(app: FastifyInstance): void {
  app.addHook('onRequest', async ({ raw: { headers } }) => {
    const isChunked = headers['transfer-encoding'] !== undefined
    if (!isChunked && (headers['content-length'] ?? '0') === '0') delete headers['content-type']
  })
}

/** How often a closing server looks for connections whose last response is sent. */
const IDLE_CHECK_MS = 100

/**
 * Lets the server close as soon as every request is answered. Node itself would also wait for
 * connections without any request, which browsers and HTTP clients open in advance (a minute, until
 * `headersTimeout`), and for keep-alive connections whose last response was sent after the close began
 * (72 seconds, `keepAliveTimeout`).
 *
 * @see https://nodejs.org/api/http.html#servercloseidleconnections
 */
function closeIdleConnectionsOnShutdown(app: App): void {
  const { server } = app
  const withoutRequest = new Set<Socket>()
  let isClosing = false
  server.on('connection', (socket) => {
    if (isClosing) {
      socket.destroy()
      return
    }
    withoutRequest.add(socket)
    socket.once('close', () => withoutRequest.delete(socket))
  })
  server.on('request', ({ socket }) => withoutRequest.delete(socket))
  app.addHook('preClose', (done) => {
    isClosing = true
    for (const socket of withoutRequest) socket.destroy()
    if (server.listening) {
      const check = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
      server.once('close', () => clearInterval(check))
    }
    done()
  })
}
