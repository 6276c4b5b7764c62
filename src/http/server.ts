import type { Socket } from 'node:net'
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
import { type AuthPorts, addAuthHook } from './access-control.ts'
import { addOpenapi } from './openapi/add-openapi.ts'
import type { ApiDescription } from './openapi/api-document.ts'
import { addProblemHandlers, sendProblem } from './problem.ts'
import { addReadinessGate, type Lifecycle } from './readiness.ts'
import type { App } from './route-deps.ts'
import { rejectNulCharacters } from './validation-errors.ts'

const newRequestId = customAlphabet('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 20)

/** Largest JSON body. Bytes. Webhooks have a limit of their own. */
const BODY_LIMIT = 256 * 1024

export type ServerOptions = {
  logger: FastifyBaseLogger
  trustProxy: boolean | number | string[]
  rateLimitPerMinute: number
  auth: AuthPorts
  api: ApiDescription
  lifecycle: Lifecycle
}

/** A number is how many proxies stand before us; fastify takes that as a function. */
function proxyTrust(setting: boolean | number | string[]) {
  return typeof setting === 'number' ? (_: string, hop: number) => hop < setting : setting
}

/**
 * The HTTP server without a domain's routes: validation, auth, problem documents, security headers,
 * limits, request ids and the request log. Listens nowhere; app.ts adds the routes.
 */
export async function createServer(options: ServerOptions): Promise<App> {
  const app = Fastify({
    loggerInstance: options.logger,
    // request-log.ts has lines of its own, without URLs.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    trustProxy: proxyTrust(options.trustProxy),
    // A caller's own id is kept where it is harmless in a log, so that both sides find the request.
    genReqId: (request) => {
      const given = request.headers['x-request-id']
      return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given)
        ? given
        : `req_${newRequestId()}`
    },
    forceCloseConnections: 'idle',
    // The door says it as a problem document.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => sendProblem(request, reply, error),
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 200 },
  }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  closeIdleConnectionsOnShutdown(app)
  addProblemHandlers(app)
  addRequestLog(app)
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('request-id', request.id)
  })
  await app.register(helmet, {
    // The API answers JSON only; /docs loosens this for its own pages.
    contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  })
  rejectNulCharacters(app)
  allowEmptyBody(app)
  const addDocs = await addOpenapi(app, options.api)
  addReadinessGate(app, options.lifecycle)
  addAuthHook(app, options.auth)
  await app.register(rateLimit, {
    max: options.rateLimitPerMinute,
    timeWindow: 60_000,
    hook: 'preHandler', // after authentication: a key has its own allowance, wherever it calls from
    keyGenerator: (request) => request.principal?.keyId ?? request.ip,
    allowList: (request) => request.routeOptions.config.access === 'stripe',
    errorResponseBuilder: (_request, context) =>
      new AppError('rate_limited', `At most ${context.max} requests a minute.`, {
        retryAfterSeconds: Math.max(1, Math.ceil(context.ttl / 1000)),
      }),
  })
  await addDocs()
  return app
}

/**
 * One line for each request, with the route's pattern and never its URL: a voucher code is a secret
 * and stands in some of them.
 */
function addRequestLog(app: FastifyInstance): void {
  app.addHook('onResponse', async (request, reply) => {
    const line = {
      method: request.method,
      route: request.routeOptions.url ?? 'unknown',
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      ...(request.conferenceId === null ? {} : { conference: request.conferenceId }),
      ...(request.principal === null ? {} : { key: request.principal.keyId }),
    }
    if (request.routeOptions.config.access === 'public') request.log.debug(line, 'request')
    else request.log.info(line, 'request')
  })
}

/**
 * Lets a request without a body name a content type, as many clients do for DELETE; fastify would
 * try to parse the nothing and refuse it.
 */
function allowEmptyBody(app: FastifyInstance): void {
  app.addHook('onRequest', async ({ raw: { headers } }) => {
    const isChunked = headers['transfer-encoding'] !== undefined
    if (!isChunked && (headers['content-length'] ?? '0') === '0') delete headers['content-type']
  })
}

/** How often a closing server looks for connections whose last answer has gone out. Milliseconds. */
const IDLE_CHECK_MS = 100

/**
 * Lets the server close as soon as every request is answered. Node alone would wait for connections
 * that have asked nothing, which browsers and HTTP clients open ahead of need (a minute, until
 * `headersTimeout`), and for those whose answer went out after the close began and promised to keep
 * the connection open (72 seconds, `keepAliveTimeout`).
 *
 * @see https://nodejs.org/api/http.html#servercloseidleconnections
 */
function closeIdleConnectionsOnShutdown(app: App): void {
  const { server } = app
  const silent = new Set<Socket>()
  let isClosing = false
  server.on('connection', (socket) => {
    if (isClosing) {
      socket.destroy()
      return
    }
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  server.on('request', ({ socket }) => silent.delete(socket))
  app.addHook('preClose', (done) => {
    isClosing = true
    for (const socket of silent) socket.destroy()
    if (server.listening) {
      const looking = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
      server.once('close', () => clearInterval(looking))
    }
    done()
  })
}
