import { startEmbeddedPostgres } from '../../../src/db/embedded/start-embedded-postgres.ts'
import { TEST_SERVER } from '../../support/test-servers.ts'
import { startPgbouncer } from './pgbouncer.ts'

/**
 * Vitest's global setup: starts PgBouncer in front of the test server, and sets DATABASE_URL and
 * DATABASE_DIRECT_URL for those that follow. Databases are made directly, and the service uses PgBouncer.
 */
export async function setup(): Promise<() => Promise<void>> {
  const server = await startEmbeddedPostgres(TEST_SERVER)
  try {
    const bouncer = await startPgbouncer(server.adminConnectionString)
    process.env['DATABASE_URL'] = bouncer.connectionString
    process.env['DATABASE_DIRECT_URL'] = server.adminConnectionString
    return async () => {
      await bouncer.stop()
      await server.stop()
    }
  } catch (error) {
    await server.stop()
    throw error
  }
}
