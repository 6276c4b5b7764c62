import type { FastifyRequest } from 'fastify'
import { RateLimiterMemory, RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible'
import type { Db } from '../db/connect.ts'
import { sha256 } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'

const WINDOW_SECONDS = 60

/** Slows down whoever guesses: only failures count, so a busy ticket shop is never limited. */
export type FailedLookups = {
  /**
   * Runs a look-up of a voucher code. An unknown code (`not_found`) counts against the key and the
   * address; after too many within a minute every look-up of both answers `rate_limited`.
   */
  guard<T>(request: FastifyRequest, lookup: () => Promise<T>): Promise<T>
  /** Counts a refused API key against its address. @throws AppError `rate_limited` */
  countLogin(address: string): Promise<void>
}

function tooManyAttempts(state: RateLimiterRes): AppError {
  return new AppError('rate_limited', 'Too many attempts that failed. Wait before the next one.', {
    retryAfterSeconds: Math.max(1, Math.ceil(state.msBeforeNext / 1000)),
  })
}

/** Counts in Postgres, so that guesses spread over several processes add up. */
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
  // In memory: a flood of bad keys must not become a flood of writes.
  const logins = new RateLimiterMemory({ points: perMinute * 3, duration: WINDOW_SECONDS })

  return {
    async guard(request, lookup) {
      const names = [request.principal?.keyId ?? 'none', `ip-${sha256(request.ip).slice(0, 32)}`]
      for (const name of names) {
        const state = await codes.get(name)
        if (state !== null && state.consumedPoints >= perMinute) throw tooManyAttempts(state)
      }
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
        throw state instanceof RateLimiterRes ? tooManyAttempts(state) : state
      }
    },
  }
}
