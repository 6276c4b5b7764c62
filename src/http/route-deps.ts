import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Db } from '../db/connect.ts'
import type { Encryption } from '../shared/cryptography.ts'
import type { FailedLookups } from './failed-lookups.ts'
import type { Idempotency } from './idempotency.ts'
import type { Reads } from './replica-reads.ts'

/** A fastify instance that types its handlers by their zod schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** What the routes of every domain may use. A domain that needs more declares its own parameter. */
export type RouteDeps = {
  db: Db
  /** For long lists, reports and exports. */
  reads: Reads
  /** Of the service's own pages, to which a checkout may always return. */
  ownOrigin: string
  idempotency: Idempotency
  encryption: Encryption
  failedLookups: FailedLookups
}
