import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ID_PREFIXES } from '../shared/ids.ts'
import {
  attributesOf,
  runWork,
  type Span,
  type Subject,
  type Tracer,
  type Work,
} from '../shared/work-context.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What the request is about, for its log lines and its trace. Null before the first hook. */
    work: Work | null
  }
}

/**
 * Runs the rest of a request as one piece of work, so that every line that it logs has its ids, and traces it. Call
 * it before all other hooks.
 *
 * The instrumentation of fastify is not used: it records URLs, in which codes are, and messages of errors.
 */
export function addRequestWork(app: FastifyInstance, tracer: Tracer | null): void {
  app.decorateRequest('work', null)
  app.addHook('onRequest', (request, reply, done) => {
    const work = beginWork(request, tracer)
    request.work = work
    if (work.span !== null) endWithResponse(reply, work.span)
    runWork(work, done)
  })
  // The end of a body arrives outside of the work.
  app.addHook('preValidation', (request, _reply, done) => runWork(request.work, done))
}

function beginWork(request: FastifyRequest, tracer: Tracer | null): Work {
  const subject: Subject = { reqId: request.id, ...purchaseOf(request) }
  const { url: route, config } = request.routeOptions
  // Not probes, pages and their files, and what has no route.
  const isTraced = route !== undefined && config.access !== 'public'
  if (tracer === null || !isTraced) return { subject, span: null }
  const { traceparent } = request.headers
  const span = tracer.begin({
    name: `${request.method} ${route}`,
    kind: 'server',
    attributes: {
      'http.request.method': request.method,
      'http.route': route,
      ...attributesOf(subject),
    },
    parent: typeof traceparent === 'string' ? traceparent : null,
  })
  return { subject, span }
}

const PURCHASE_ID = new RegExp(`^${ID_PREFIXES.purchase}_[0-9A-Za-z]{1,40}$`)

/** The purchase in the path, if it is an id: a caller may send a code by mistake. */
function purchaseOf({ params }: FastifyRequest): Subject {
  const { purchase } = (params ?? {}) as { purchase?: string }
  return purchase !== undefined && PURCHASE_ID.test(purchase) ? { purchase } : {}
}

/** Also when the caller goes away before the end. */
function endWithResponse({ raw }: FastifyReply, span: Span): void {
  raw.once('close', () => {
    span.set({ 'http.response.status_code': raw.statusCode })
    if (raw.statusCode >= 500) span.fail(String(raw.statusCode))
    span.end()
  })
}
