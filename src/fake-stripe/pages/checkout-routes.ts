import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { handScope } from '../control/find-object.ts'
import type { Scope } from '../core/scope.ts'
import type { World } from '../core/world.ts'
import { checkoutSessions } from '../objects/checkout-session.ts'
import { declineSession, paySession, paySessionLater } from '../payments/pay-session.ts'
import { cardDecline, DECLINE_CODES } from '../payments/payment-failure.ts'
import { checkoutPage, successUrl, unknownSessionPage } from './checkout-page.ts'
import { sendPage } from './page-layout.ts'

type SessionRoute = { Params: { session: string } }
type Act = (scope: Scope, id: string, form: z.output<typeof payForm>) => string

const blankIsAbsent = z
  .string()
  .optional()
  .transform((value) => value || undefined)

const payForm = z.object({
  email: blankIsAbsent,
  name: blankIsAbsent,
  code: z.enum(DECLINE_CODES).default('generic_decline'),
})

/** The hosted checkout page: the address that a session's `url` names, and its buttons. */
export function registerCheckoutPages(app: FastifyInstance, world: World): void {
  app.get<SessionRoute>('/c/pay/:session', (request, reply) => {
    const { scope, session } = find(world, request.params.session)
    if (scope === undefined) return sendPage(reply, unknownSessionPage(), 404)
    const { declined } = z
      .object({ declined: z.enum(DECLINE_CODES).optional() })
      .catch({})
      .parse(request.query)
    const problem = declined && `${cardDecline(declined).message} You can try again.`
    return sendPage(reply, checkoutPage(scope, session, problem))
  })
  const actions: Record<string, Act> = {
    pay: (scope, id, { email, name }) => successUrl(paySession(scope, id, { email, name })),
    bank: (scope, id, { email, name }) => successUrl(paySessionLater(scope, id, { email, name })),
    decline: (scope, id, { code }) => {
      declineSession(scope, id, code)
      return `/c/pay/${id}?declined=${code}`
    },
    cancel: (scope, id) =>
      scope.account.rows(checkoutSessions).get(id)?.cancel_url ?? `/c/pay/${id}`,
  }
  for (const [name, act] of Object.entries(actions))
    app.post<SessionRoute>(`/c/pay/:session/${name}`, (request, reply) =>
      perform(world, act, request, reply),
    )
}

function perform(
  world: World,
  act: Act,
  request: FastifyRequest<SessionRoute>,
  reply: FastifyReply,
): FastifyReply {
  const { scope, session } = find(world, request.params.session)
  if (scope === undefined) return sendPage(reply, unknownSessionPage(), 404)
  // Pressed twice, or too late: the page says how the session ended.
  if (session.status !== 'open') return reply.redirect(`/c/pay/${session.id}`, 303)
  return reply.redirect(act(scope, session.id, payForm.parse(request.body ?? {})), 303)
}

function find(world: World, id: string) {
  for (const account of world.accounts.all()) {
    const session = account.rows(checkoutSessions).get(id)
    if (session !== undefined) return { scope: handScope(world, account), session }
  }
  return { scope: undefined, session: undefined }
}
