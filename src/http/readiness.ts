import type { Db } from '../db/connect.ts'
import { schemaServesUs } from '../db/schema-version.ts'
import { AppError } from '../shared/errors.ts'

// Shorter than the second or two that a load balancer waits for a probe.
const PATIENCE_MS = 1_500

/** Asks the database whether it can serve us now; at most one question is under way. */
export type Readiness = {
  /** @throws AppError `database_unavailable`, or `not_ready` when the schema is not ours. */
  check(): Promise<void>
}

/** @param db a pool that busy requests do not share, so that load does not look like an outage. */
export function createReadiness(db: Db): Readiness {
  let asking: Promise<boolean> | null = null

  async function ask(): Promise<boolean> {
    // Drops a connection that hangs, as that of a server which was paused or cut off.
    await db.raw('select 1').timeout(PATIENCE_MS)
    return schemaServesUs(db)
  }

  return {
    async check() {
      asking ??= ask().finally(() => {
        asking = null
      })
      const serves = await inTime(asking)
      if (serves) return
      throw new AppError('not_ready', 'The database schema does not serve this release.', {
        retryAfterSeconds: 2,
      })
    },
  }
}

async function inTime(asking: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${PATIENCE_MS} ms`)), PATIENCE_MS)
  })
  try {
    return await Promise.race([asking, late])
  } catch (cause) {
    throw new AppError('database_unavailable', 'The database does not answer.', {
      retryAfterSeconds: 2,
      cause,
    })
  } finally {
    clearTimeout(timer)
  }
}
