import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import type { Logger } from '../shared/logger.ts'
import { StartRefused } from '../shared/start-refused.ts'
import type { Db } from './connect.ts'
import { migrateToLatest } from './migrate.ts'
import { isDatabaseUnavailable } from './pg-errors.ts'
import { rowSecurityBypass } from './row-security-bypass.ts'
import { schemaServesUs } from './schema-version.ts'

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

const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 5_000

/**
 * Waits until the database answers and has our schema, which it migrates where the settings say so.
 * Returns false when the signal ended the waiting.
 *
 * @throws StartRefused in production for a role that row security does not hold for, and what
 * `check` throws.
 * @throws whatever a migration threw; only a database that does not answer is waited for.
 */
export async function prepareDatabase(deps: PrepareDeps): Promise<boolean> {
  let waitMs = FIRST_WAIT_MS
  while (!deps.signal.aborted) {
    const obstacle = await tryToPrepare(deps)
    if (obstacle === null) return true
    deps.logger.warn({ ...obstacle, next_try_ms: waitMs }, 'the database is not ready')
    await sleep(waitMs, null, { signal: deps.signal }).catch(() => {})
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
  }
  return false
}

/** What to wait for, or null when everything is in place. */
async function tryToPrepare(deps: PrepareDeps): Promise<{ waiting_for: string } | null> {
  const { db, config, logger } = deps
  try {
    await checkRole(deps)
    if (config.migrateOnStart) await migrateToLatest(deps.connectionString)
    if (await schemaServesUs(db)) {
      await deps.check()
      return null
    }
    if (config.migrateOnStart) {
      throw new StartRefused(
        'The database has a schema of a newer release, which no longer serves this one.',
      )
    }
    return { waiting_for: 'the schema of this release: run `npm run migrate`' }
  } catch (error) {
    if (!isDatabaseUnavailable(error)) throw error
    logger.debug({ err: error }, 'the database did not answer')
    return { waiting_for: `the database: ${textOf(error)}` }
  }
}

async function checkRole({ db, config, logger }: PrepareDeps): Promise<void> {
  const bypass = await rowSecurityBypass(db)
  if (bypass === null) return
  if (config.production) throw new StartRefused(bypass)
  logger.warn(bypass)
}

function textOf(error: unknown): string {
  // Node's error for several addresses has an empty message.
  if (error instanceof AggregateError) return error.errors.map(textOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}
