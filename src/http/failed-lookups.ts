import type { FastifyRequest } from 'fastify'
import { RateLimiterMemory, RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible'
import type { Db } from '../db/connect.ts'
import { deleteInBatches } from '../db/delete-in-batches.ts'
import { PREPARED } from '../db/pipeline.ts'
import { sha256 } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import { inGroups } from '../shared/in-groups.ts'

const WINDOW_SECONDS = 60

/** An unknown conference is looked up again after this time. */
const UNKNOWN_SECONDS = 5

/** Limits guessing of codes, keys and conferences. Only failures count, so a busy ticket shop is never limited. */
export type FailedLookups = {
  /**
   * Runs a look-up of a voucher code. Each unknown code (`not_found`) counts for the API key and for
   * the address. Above the limit, every look-up of either one is refused for up to a minute.
   *
   * @throws AppError `rate_limited`
   */
  guard<T>(request: FastifyRequest, lookup: () => Promise<T>): Promise<T>
  /**
   * Runs a look-up of a conference by slug or id. Each unknown name counts for the caller (an API key or
   * an address). Above the limit, names that this process has never found are refused for up to a minute
   * without a look-up. A name that was unknown stays so for five seconds.
   *
   * @throws AppError `rate_limited`
   */
  guardConference<T>(
    caller: string,
    name: string,
    lookup: () => Promise<T | null>,
  ): Promise<T | null>
  /** Counts a refused API key for the caller's address. @throws AppError `rate_limited` */
  countLogin(address: string): Promise<void>
}

/** Counts in Postgres, so that the limit holds over all processes. */
export function createFailedLookups(db: Db, perMinute: number): FailedLookups {
  const codes = new RateLimiterPostgres({
    storeClient: db,
    storeType: 'knex',
    tableName: 'rate_limits',
    tableCreated: true,
    keyPrefix: 'lookup',
    points: perMinute,
    duration: WINDOW_SECONDS,
  })
  // In memory, so that many bad keys do not cause many writes.
  const logins = new RateLimiterMemory({ points: perMinute * 3, duration: WINDOW_SECONDS })
  const names = new RateLimiterMemory({ points: perMinute * 3, duration: WINDOW_SECONDS })
  const unknown = new RateLimiterMemory({ points: 1, duration: UNKNOWN_SECONDS })
  // Conferences are never deleted and keep their slug.
  const known = new Set<string>()

  /** Until when one of the names is limited, in milliseconds. Requests that arrive together share a query. */
  const endOfLimit = inGroups<string[], number | null>({
    run: async (groups) => {
      const ends = await endsOfLimits([...new Set(groups.flat())])
      return groups.map((names) => Math.max(0, ...names.map((name) => ends.get(name) ?? 0)) || null)
    },
    inFlight: 2,
  })

  async function endsOfLimits(names: string[]): Promise<Map<string, number>> {
    const keys = new Map(names.map((name) => [codes.getKey(name), name]))
    const { rows } = await db
      .raw<{ rows: { key: string; expire: number }[] }>(
        'select key, expire from rate_limits where key = any(?) and expire > ? and points >= ?',
        [[...keys.keys()], Date.now(), perMinute],
      )
      .options(PREPARED)
    return new Map(rows.map(({ key, expire }) => [keys.get(key) ?? key, expire]))
  }

  return {
    async guardConference(caller, name, lookup) {
      if (!known.has(name)) {
        if ((await unknown.get(name)) !== null) return null
        const state = await names.get(caller)
        if (state !== null && state.consumedPoints >= names.points) {
          throw tooManyAttempts(state.msBeforeNext)
        }
      }
      const found = await lookup()
      if (found === null) await Promise.all([names.penalty(caller), unknown.penalty(name)])
      else known.add(name)
      return found
    },
    async guard(request, lookup) {
      const names = [request.principal?.id ?? 'none', `ip-${sha256(request.ip).slice(0, 32)}`]
      const limitedUntil = await endOfLimit(names)
      if (limitedUntil !== null) throw tooManyAttempts(limitedUntil - Date.now())
      try {
        return await lookup()
      } catch (error) {
        if (error instanceof AppError && error.code === 'not_found') {
          await Promise.all(names.map((name) => codes.penalty(name)))
        }
        throw error
      }
    },
    async countLogin(address) {
      try {
        await logins.consume(address)
      } catch (state) {
        throw state instanceof RateLimiterRes ? tooManyAttempts(state.msBeforeNext) : state
      }
    },
  }
}

function tooManyAttempts(forMs: number): AppError {
  return new AppError(
    'rate_limited',
    'Too many requests used an unknown voucher code, API key or conference. Retry after the number of seconds in the header Retry-After.',
    {
      retryAfterSeconds: Math.max(1, Math.ceil(forMs / 1000)),
    },
  )
}

/** Deletes limits whose minute is over. @returns their number. */
export function deleteExpiredLimits(db: Db): Promise<number> {
  // rate-limiter-flexible stores the end of a window in milliseconds.
  return deleteInBatches(db, 'rate_limits', `expire < extract(epoch from now()) * 1000`)
}
