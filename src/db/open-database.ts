import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import { StartupError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { Db } from './connect.ts'
import { startEmbeddedPostgres } from './embedded/start-embedded-postgres.ts'
import { isSchemaCompatible, migrateToLatest } from './migrations.ts'
import { isDatabaseUnavailable } from './pg-errors.ts'
import { findRowSecurityBypass } from './tenant-scope.ts'

export type OpenDatabase = {
  connectionString: string
  embedded: boolean
  /** Gives the embedded server up, of which the last user stops it; nothing for another server. */
  stop(): Promise<void>
}

/**
 * The database that the settings name: a server of the operator's, to which nothing is sent yet, or
 * the embedded one in the data folder, which is running when this returns.
 *
 * @throws EmbeddedPostgresError whose message says what to do.
 */
export async function openDatabase(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  logger: Pick<Logger, 'info'>,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== null) {
    return { connectionString: config.databaseUrl, embedded: false, stop: async () => {} }
  }
  const folder = resolve(config.dataDir, 'postgres')
  const server = await startEmbeddedPostgres({
    folder,
    log: (message) => logger.info({ from: 'embedded database' }, message),
  })
  logger.info({ folder, reused: server.reused }, 'embedded database runs')
  return {
    connectionString: server.connectionString,
    embedded: true,
    stop: () => server.stop(),
  }
}

export type PrepareDeps = {
  connectionString: string
  db: Db
  config: Pick<Config, 'production' | 'migrateOnStart'>
  logger: Logger
  /** What else must hold of the data, asked last. */
  check: () => Promise<void>
  /** Ends the waiting. */
  signal: AbortSignal
}

const INITIAL_WAIT_MS = 250
const MAX_WAIT_MS = 5_000

/**
 * Waits until the database answers and has our schema, which it migrates where the settings say so.
 * Returns false when the signal ended the waiting.
 *
 * @throws StartRefused in production for a role that row security does not hold for, and what
 * `check` throws.
 * @throws whatever a migration threw; only a database that does not answer is waited for.
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

/** What to wait for, or null when everything is in place. */
async function tryToPrepare(deps: PrepareDeps): Promise<{ waiting_for: string } | null> {
  const { db, config, logger } = deps
  try {
    await checkRole(deps)
    if (config.migrateOnStart) await migrateToLatest(deps.connectionString)
    if (await isSchemaCompatible(db)) {
      await deps.check()
      return null
    }
    if (config.migrateOnStart) {
      throw new StartupError(
        'The database has a schema of a newer release, which no longer serves this one.',
      )
    }
    return { waiting_for: 'the schema of this release: run `npm run migrate`' }
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
  // Node's error for several addresses has an empty message.
  if (error instanceof AggregateError) return error.errors.map(describeError).join('; ')
  return error instanceof Error ? error.message : String(error)
}
