import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errorBody, StripeError } from '../core/errors.ts'
import type { FakeState } from '../fake-state.ts'
import { ALL_RESOURCES } from '../kinds/all-kinds.ts'
import type { Operation, PathParams } from './operations.ts'
import { type Form, parseForm } from './params.ts'
import { type Outcome, performCall } from './perform-call.ts'

const PREFIX = '/v1'

/** Serves `/v1`. The prefix keeps its form parser and its 404 apart from those of the pages. */
export async function registerStripeApi(app: FastifyInstance, state: FakeState): Promise<void> {
  await app.register(
    (scope, _options, done) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser(
        'application/x-www-form-urlencoded',
        { parseAs: 'string' },
        (_request, body, next) => next(null, body),
      )
      scope.setNotFoundHandler((request, reply) => refuse(state, reply, unknownUrl(request)))
      scope.setErrorHandler((error, _request, reply) => refuse(state, reply, unreadable(error)))
      for (const operation of ALL_RESOURCES.flatMap((resource) => resource.operations))
        scope.route({
          method: operation.method,
          url: operation.path.slice(PREFIX.length),
          handler: (request, reply) => answer(state, operation, request, reply),
        })
      // Without a route of its own it would match `POST /v1/invoices/:id`: "No such invoice".
      scope.post('/invoices/create_preview', (request, reply) =>
        refuse(state, reply, unknownUrl(request)),
      )
      done()
    },
    { prefix: PREFIX },
  )
  // The fake does not implement the v2 API; its clients get the same error as for an unknown path
  // of v1.
  await app.register(
    (scope, _options, done) => {
      scope.setNotFoundHandler((request, reply) => refuse(state, reply, unknownUrl(request)))
      done()
    },
    { prefix: '/v2' },
  )
}

async function answer(
  state: FakeState,
  operation: Operation,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const [path = '', query = ''] = request.url.split('?', 2)
  const outcome = await performCall(state, {
    operation,
    path,
    pathParams: request.params as PathParams, // the route's own placeholders
    form: { ...parseForm(query), ...bodyForm(request.body) },
    authorization: request.headers.authorization,
    idempotencyKey: header(request, 'idempotency-key'),
    stripeVersion: header(request, 'stripe-version'),
    stripeAccount: header(request, 'stripe-account'),
  })
  return send(outcome, request, reply)
}

function send(outcome: Outcome, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (outcome.kind === 'answer')
    return reply.code(outcome.status).headers(outcome.headers).send(outcome.body)
  if (outcome.kind === 'cut') request.raw.socket.destroy()
  // A hanging request ends when the client times out, or when `close()` cuts all sockets.
  return reply.hijack()
}

function bodyForm(body: unknown): Form {
  return typeof body === 'string' ? parseForm(body) : {}
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' ? value : undefined
}

function refuse(state: FakeState, reply: FastifyReply, error: StripeError): FastifyReply {
  return reply.code(error.status).send(errorBody(error, state.url(), 'none'))
}

function unknownUrl(request: FastifyRequest): StripeError {
  const [path] = request.url.split('?', 1)
  return new StripeError(
    404,
    'invalid_request_error',
    `Unrecognized request URL (${request.method}: ${path}). fake-stripe does not implement this request; its README.md lists all that it implements. If you are trying to list objects, remove the trailing slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in your code.`,
  )
}

/** For a body that is too large or not a form; performCall answers all other errors itself. */
function unreadable(error: unknown): StripeError {
  const status =
    typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : 500
  if (status === 413)
    return new StripeError(413, 'invalid_request_error', 'Request body is too large.')
  if (status === 415)
    return new StripeError(
      400,
      'invalid_request_error',
      'Invalid request: send parameters as application/x-www-form-urlencoded.',
    )
  return new StripeError(500, 'api_error', 'An unknown error occurred.')
}
