import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import {
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { customAlphabet } from 'nanoid'
import { AppError } from '../shared/errors.ts'
import { type AuthPorts, addAuthHook } from './auth-hook.ts'
import { addDoor } from './door.ts'
import { allowEmptyBody } from './empty-body.ts'
import { hangUpWhenClosing } from './hang-up.ts'
import type { Lifecycle } from './lifecycle.ts'
import { type ApiDescription, addOpenapi } from './openapi/add-openapi.ts'
import { addProblemHandlers, sendProblem } from './problem.ts'
import { addRequestLog } from './request-log.ts'
import type { App } from './route-deps.ts'
import { addTextRule } from './storable-text.ts'

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
  hangUpWhenClosing(app)
  addProblemHandlers(app)
  addRequestLog(app)
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('request-id', request.id)
  })
  await app.register(helmet, {
    // The API answers JSON only; /docs loosens this for its own pages.
    contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  })
  addTextRule(app)
  allowEmptyBody(app)
  const addDocs = await addOpenapi(app, options.api)
  addDoor(app, options.lifecycle)
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
