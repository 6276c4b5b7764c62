import type { FastifyBaseLogger } from 'fastify'
import { createAuthenticator } from './access/authenticate.ts'
import { conferenceRoutes } from './conferences/conference-routes.ts'
import { findConferenceId } from './conferences/conference-store.ts'
import type { Config } from './config.ts'
import type { Db } from './db/connect.ts'
import type { Presence } from './db/process-presence.ts'
import { withSystem } from './db/tenant-scope.ts'
import { createFailedLookups } from './http/failed-lookups.ts'
import { createAnswers } from './http/idempotency.ts'
import type { App, RouteDeps } from './http/route-deps.ts'
import { createServer } from './http/server.ts'
import type { Encryption } from './shared/encryption.ts'

export type AppDeps = {
  config: Config
  db: Db
  presence: Presence
  encryption: Encryption
  operatorApiKey: string
  logger: FastifyBaseLogger
}

/** The HTTP side of the service, composed and not listening. */
export async function buildApp(deps: AppDeps): Promise<App> {
  const { db, encryption, config } = deps
  const failedLookups = createFailedLookups(db, config.failedLookupsPerMinute)
  const app = await createServer({
    logger: deps.logger,
    trustProxy: config.trustProxy,
    rateLimitPerMinute: config.rateLimitPerMinute,
    auth: {
      authenticate: createAuthenticator({ db, operatorApiKey: deps.operatorApiKey }),
      findConference: (slugOrId) =>
        withSystem(db, 'resolve-conference', (trx) => findConferenceId(trx, slugOrId)),
      countFailedLogin: failedLookups.countLogin,
    },
  })
  const routes: RouteDeps = { db, encryption, failedLookups, answers: createAnswers(deps) }
  conferenceRoutes(app, routes)
  return app
}
