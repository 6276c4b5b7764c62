import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import { StartupError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { assertSessions } from './assert-sessions.ts'
import type { Db } from './connect.ts'
import { startEmbeddedPostgres } from './embedded/start-embedded-postgres.ts'
import { isSchemaCompatible, migrateToLatest } from './migrations.ts'
import { isDatabaseUnavailable } from './pg-errors.ts'
import { findRowSecurityBypass } from './tenant-scope.ts'

export type OpenDatabase = {
  connectionString: string
  /** Postgres itself: for what needs a session. Different behind a pooler (`DATABASE_DIRECT_URL`). */
  directConnectionString: string
  embedded: boolean
  /** Releases the embedded server; its last user stops it. A no-op for other servers. */
  stop(): Promise<void>
}

/**
 * The database of the settings. For DATABASE_URL it does not connect yet; the embedded server is
 * running when this returns.
 *
 * @throws EmbeddedPostgresError whose message says what to do.
 */
export async function openDatabase(
  config: Pick<Config, 'databaseUrl' | 'databaseDirectUrl' | 'dataDir'>,
  logger: Pick<Logger, 'info'>,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== null) {
    return {
      connectionString: config.databaseUrl,
      directConnectionString: config.databaseDirectUrl ?? config.databaseUrl,
      embedded: false,
      stop: async () => {},
    }
  }
  const folder = resolve(config.dataDir, 'postgres')
  const server = await startEmbeddedPostgres({
    folder,
    log: (message) => logger.info({ from: 'embedded database' }, message),
  })
  logger.info({ folder, reused: server.reused }, 'the embedded database is running')
  return {
    connectionString: server.connectionString,
    directConnectionString: server.connectionString,
    embedded: true,
    stop: () => server.stop(),
  }
}

export type PrepareDeps = Pick<OpenDatabase, 'connectionString' | 'directConnectionString'> & {
  db: Db
  config: Pick<Config, 'production' | 'migrateOnStart' | 'prepareStatements'>
  logger: Logger
  /** A last check of the data. */
  check: () => Promise<void>
  /** Ends the wait. */
  signal: AbortSignal
}

const INITIAL_WAIT_MS = 250
const MAX_WAIT_MS = 5_000

/**
 * Waits until the database answers and its schema is compatible. Migrates the schema if the settings
 * allow it. Returns false when the signal ended the wait.
 *
 * @throws StartupError behind a pooler without what it needs, and in production for a role to which row
 * security does not apply.
 * @throws Error of `check` or of a migration. Only an unreachable database makes it wait.
 */
export async function prepareDatabase(deps: PrepareDeps): Promise<boolean> {
  let waitMs = INITIAL_WAIT_MS
  while (!deps.signal.aborted) {
    const obstacle = await tryToPrepare(deps)
    if (obstacle === null) return true
    deps.logger.warn({ ...obstacle, next_try_ms: waitMs }, 'the database is not ready')
    await sleep(waitMs, null, { signal: deps.signal }).catch(() => {})
    waitMs = Math.min(waitMs * 2, MAX_WAIT_MS)
  }
  return false
}

/** What to wait for, or null when the database is ready. */
async function tryToPrepare(deps: PrepareDeps): Promise<{ waiting_for: string } | null> {
  const { db, config, logger } = deps
  try {
    await assertSessions(db, { ...deps, prepareStatements: config.prepareStatements })
    await checkRole(deps)
    if (config.migrateOnStart) await migrateToLatest(deps.directConnectionString)
    if (await isSchemaCompatible(db)) {
      await deps.check()
      return null
    }
    if (config.migrateOnStart) {
      throw new StartupError(
        'The database has the schema of a newer release, which this release cannot use.',
      )
    }
    return {
      waiting_for:
        'the schema of this release: run `sponsor-vouchers migrate` (in a checkout: `npm run migrate`)',
    }
  } catch (error) {
    if (!isDatabaseUnavailable(error)) throw error
    logger.debug({ err: error }, 'the database did not answer')
    return { waiting_for: `the database: ${describeError(error)}` }
  }
}

async function checkRole({ db, config, logger }: PrepareDeps): Promise<void> {
  const bypass = await findRowSecurityBypass(db)
  if (bypass === null) return
  if (config.production) throw new StartupError(bypass)
  logger.warn(bypass)
}

function describeError(error: unknown): string {
  // Node's error for several addresses has no message of its own.
  if (error instanceof AggregateError) return error.errors.map(describeError).join('; ')
  return error instanceof Error ? error.message : String(error)
}
