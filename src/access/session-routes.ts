import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { findConferenceNames } from '../conferences/conference-store.ts'
import type { Db } from '../db/connect.ts'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import { principalOf } from '../http/access-control.ts'
import { id } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { refuseOtherSites, sessionCookie } from '../http/session-cookie.ts'
import type { Principal, SignedIn } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import { scopeSchema } from './api-key-schemas.ts'
import { KEY_ROLES } from './api-key-store.ts'
import {
  endSession,
  LINK_LIFETIME_MINUTES,
  listSessions,
  requestSignIn,
  type SessionRow,
  signInWithLink,
} from './sign-in.ts'

const tags = ['Sign-in']

/** For one address. A link has 238 random bits, so this limits only the noise. */
export const SIGN_IN_RATE_LIMIT = { max: 20, timeWindow: 60_000 }

const sessionSchema = z
  .object({
    id: z.string(),
    object: z.literal('session'),
    current: z.boolean().meta({ description: 'The session of this request.' }),
    method: z.enum(['link', 'oidc']),
    user_agent: z.string().nullable(),
    created_at: timestamp,
    last_seen_at: timestamp,
    expires_at: timestamp,
  })
  .meta({ id: 'Session' })

const meSchema = z
  .object({
    object: z.literal('me'),
    email: z.string().nullable().meta({ description: 'Null for an API key.' }),
    session: z.object({ id: z.string(), expires_at: timestamp }).nullable(),
    access: z
      .array(
        z.object({
          id: z.string().meta({ description: 'The id of the user or of the API key.' }),
          role: z.enum(KEY_ROLES),
          conference: z
            .object({
              id: z.string(),
              slug: z.string(),
              name: z.string(),
              currency: z.string(),
              livemode: z.boolean().nullable(),
            })
            .nullable()
            .meta({ description: 'Null for an operator, who may use every conference.' }),
          sponsor: z.object({ id: z.string(), name: z.string() }).nullable(),
          scopes: z.array(scopeSchema),
        }),
      )
      .meta({ description: 'One person may be a user of several conferences.' }),
  })
  .meta({ id: 'Me' })

type Me = z.infer<typeof meSchema>

/** Sign-in by a mailed link, the sessions of a person, and who the caller is. */
export function sessionRoutes(app: App, { db, failedLookups }: RouteDeps): void {
  const rateLimit = SIGN_IN_RATE_LIMIT

  app.post(
    '/v1/sign-in',
    {
      config: { access: 'public', rateLimit },
      schema: {
        operationId: 'requestSignIn',
        summary: 'Request a sign-in link by mail',
        description: `The answer is the same whether or not the address has a user. The link works once, for ${LINK_LIFETIME_MINUTES} minutes.`,
        tags,
        body: z.strictObject({ email: z.email().max(254) }).meta({ id: 'RequestSignIn' }),
        response: { 202: z.object({ object: z.literal('sign_in_request') }) },
      },
    },
    async (request, reply) => {
      await requestSignIn(db, request.body.email)
      return reply.code(202).send({ object: 'sign_in_request' as const })
    },
  )

  app.post(
    '/v1/sessions',
    {
      config: { access: 'public', rateLimit },
      schema: {
        operationId: 'createSession',
        summary: 'Sign in with a link',
        description: 'Sets the session cookie.',
        tags,
        body: z
          .strictObject({
            token: z
              .string()
              .max(100)
              .regex(/^[0-9A-Za-z_]{10,}$/, 'must be the part of the link after #token='),
          })
          .meta({ id: 'CreateSession' }),
        response: { 201: z.object({ object: z.literal('session'), id: z.string() }) },
      },
    },
    async (request, reply) => {
      refuseOtherSites(request)
      const userAgent = request.headers['user-agent']
      const session = await signInWithLink(db, request.body.token, userAgent).catch(
        async (error: unknown) => {
          await failedLookups.countLogin(request.ip)
          throw error
        },
      )
      sessionCookie.set(request, reply, session.cookie, session.expiresAt)
      return reply.code(201).send({ object: 'session' as const, id: session.id })
    },
  )

  app.get(
    '/v1/me',
    {
      config: { access: 'authenticated' },
      schema: {
        operationId: 'getMe',
        summary: 'Show who the caller is, and what it may use',
        tags,
        response: { 200: meSchema },
      },
    },
    (request) => describeCaller(db, request),
  )

  app.get(
    '/v1/sessions',
    {
      config: { access: 'authenticated' },
      schema: {
        operationId: 'listSessions',
        summary: 'List my sessions',
        description: 'At most the newest hundred. An API key has none.',
        tags,
        response: { 200: z.object({ data: z.array(sessionSchema) }).meta({ id: 'SessionList' }) },
      },
    },
    async ({ signedIn }) => {
      if (signedIn === null) return { data: [] }
      const rows = await listSessions(db, signedIn.email)
      return { data: rows.map((row) => toSessionBody(row, signedIn)) }
    },
  )

  app.delete(
    '/v1/sessions/:id',
    {
      config: { access: 'authenticated' },
      schema: {
        operationId: 'endSession',
        summary: 'Sign out',
        description: '`current` ends the session of this request; an id ends another one of yours.',
        tags,
        params: z.object({ id }),
        response: { 204: z.null() },
      },
    },
    (request, reply) => signOut(db, request, reply, request.params.id),
  )
}

async function signOut(db: Db, request: FastifyRequest, reply: FastifyReply, which: string) {
  const { signedIn } = request
  if (signedIn === null) throw new AppError('not_found', 'An API key has no session.')
  const id = which === 'current' ? signedIn.sessionId : which
  if (!(await endSession(db, signedIn.email, id))) throw notFound('session')
  if (id === signedIn.sessionId) sessionCookie.clear(request, reply)
  return reply.code(204).send(null)
}

function toSessionBody(row: SessionRow, { sessionId }: SignedIn): z.infer<typeof sessionSchema> {
  return {
    id: row.id,
    object: 'session',
    current: row.id === sessionId,
    method: row.method,
    user_agent: row.user_agent,
    created_at: toTimestamp(row.created_at),
    last_seen_at: toTimestamp(row.last_seen_at),
    expires_at: toTimestamp(row.expires_at),
  }
}

async function describeCaller(db: Db, request: FastifyRequest): Promise<Me> {
  const { signedIn } = request
  const principals = signedIn?.users ?? [principalOf(request)]
  const ids = principals.flatMap((each) => (each.role === 'operator' ? [] : [each.conferenceId]))
  const names = await withSystem(db, 'manage-conferences', (trx) => findConferenceNames(trx, ids))
  const access: Me['access'] = []
  for (const principal of principals) {
    const conference =
      principal.role === 'operator' ? null : (names.get(principal.conferenceId) ?? null)
    access.push({
      id: principal.id,
      role: principal.role,
      conference,
      sponsor: await sponsorOf(db, principal),
      scopes: principal.role === 'staff' ? [...principal.scopes] : [],
    })
  }
  const session =
    signedIn === null
      ? null
      : { id: signedIn.sessionId, expires_at: toTimestamp(signedIn.expiresAt) }
  return { object: 'me', email: signedIn?.email ?? null, session, access }
}

async function sponsorOf(db: Db, principal: Principal): Promise<Me['access'][number]['sponsor']> {
  if (principal.role !== 'sponsor') return null
  const sponsor = await withTenant(db, principal, (trx) =>
    findSponsor(trx, principal.conferenceId, principal.sponsorId),
  )
  return sponsor === null ? null : { id: sponsor.id, name: sponsor.name }
}
