import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { errorBody, InvalidState, StripeError } from '../core/errors.ts'
import { COMMANDS } from './control-commands.ts'
import type { FakeStripeControl } from './fake-stripe-control.ts'

const account = z.strictObject({ account: z.string().optional() })
const eventFilter = account.extend({ type: z.string().optional() })
const deliveryFilter = eventFilter.extend({
  event: z.string().optional(),
  state: z.enum(['waiting', 'held', 'delivered', 'failed', 'dropped']).optional(),
})
const requestFilter = account.extend({
  method: z.string().optional(),
  path: z.string().optional(),
  idempotencyKey: z.string().optional(),
})
const objectFilter = z.strictObject({ account: z.string(), kind: z.string() })

/**
 * `POST /_fake/{command}` with a JSON body and `GET /_fake/…`: the control methods for other
 * processes. Every response is `{ data }` or `{ error: { message } }`.
 */
export async function registerControlRoutes(
  app: FastifyInstance,
  control: FakeStripeControl,
): Promise<void> {
  await app.register(
    (scope, _options, done) => {
      scope.addHook('onRequest', async (request) => refuseOtherSites(request))
      scope.setErrorHandler((error, _request, reply) => {
        const { status, body } = describe(error)
        return reply.code(status).send(body)
      })
      scope.post<{ Params: { command: string } }>('/:command', async (request, reply) => {
        const command = COMMANDS.get(request.params.command)
        if (command === undefined)
          return reply
            .code(404)
            .send({ error: { message: unknownCommand(request.params.command) } })
        const data: unknown = await command.run(control, request.body ?? {})
        return { data: data ?? null }
      })
      registerReads(scope, control)
      done()
    },
    { prefix: '/_fake' },
  )
}

function registerReads(scope: FastifyInstance, control: FakeStripeControl): void {
  scope.get('/', () => ({ data: { commands: [...COMMANDS.keys()] } }))
  scope.get('/clock', () => ({ data: { now: control.clock.now().toISOString() } }))
  scope.get('/accounts', () => ({ data: control.accounts() }))
  scope.get('/faults', () => ({ data: control.faults() }))
  scope.get('/events', ({ query }) => ({ data: control.events(eventFilter.parse(query)) }))
  scope.get('/deliveries', ({ query }) => ({
    data: control.deliveries(deliveryFilter.parse(query)),
  }))
  scope.get('/requests', ({ query }) => ({ data: control.requests(requestFilter.parse(query)) }))
  scope.get<{ Params: { id: string } }>('/objects/:id', ({ params }) => ({
    data: control.get(params.id),
  }))
  scope.get('/objects', ({ query }) => {
    const { account: owner, kind } = objectFilter.parse(query)
    return { data: control.list(owner, kind) }
  })
}

/** Refuses requests that another web site has caused; browsers mark them. @throws InvalidState */
export function refuseOtherSites(request: FastifyRequest): void {
  const site = request.headers['sec-fetch-site']
  if (site === 'cross-site' && request.method !== 'GET')
    throw new InvalidState('Requests from other web sites are refused.')
}

/** An error as the response body and as the message for the dashboard. */
export function describe(error: unknown): { status: number; body: object; message: string } {
  if (error instanceof StripeError)
    return { status: error.status, body: errorBody(error, '', 'none'), message: error.message }
  if (error instanceof z.ZodError) return plain(400, z.prettifyError(error))
  if (error instanceof InvalidState) return plain(409, error.message)
  if (!(error instanceof Error)) return plain(500, String(error))
  // Errors of Fastify, such as a body that is not JSON, have a status.
  const status =
    'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  return plain(status, error.message)
}

function plain(status: number, message: string) {
  return { status, body: { error: { message } }, message }
}

function unknownCommand(name: string): string {
  return `There is no command ${name}. GET /_fake/ lists the commands.`
}
