import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Db } from '../db/connect.ts'
import { isSchemaCompatible, migrationNames } from '../db/migrations.ts'
import { AppError } from '../shared/errors.ts'
import type { App } from './route-deps.ts'

/**
 * `starting`: the database is not checked yet, so the process does not use it for answers.
 * `draining`: the process serves, and /readyz fails, so that load balancers send no more requests.
 * `stopping`: running work may end; new work does not start.
 */
export type Phase = 'starting' | 'serving' | 'draining' | 'stopping'

/** The phase of the process. start-service.ts changes it; requests and /readyz read it. */
export type Lifecycle = {
  readonly phase: Phase
  /** Begins to serve, unless the process is already stopping. */
  serve(): void
  /** Begins to drain. @returns false unless the process serves. */
  drain(): boolean
  stop(): void
}

export function createLifecycle(phase: Phase = 'starting'): Lifecycle {
  let now = phase
  return {
    get phase() {
      return now
    },
    serve() {
      if (now === 'starting') now = 'serving'
    },
    drain() {
      if (now !== 'serving') return false
      now = 'draining'
      return true
    },
    stop() {
      now = 'stopping'
    },
  }
}

const REASONS = {
  starting: 'The service is starting.',
  stopping: 'The service is stopping. Retry in a few seconds; another process answers.',
} as const

// Another process takes over immediately; a start waits for migrations.
const RETRY_AFTER_SECONDS = 2

/**
 * Refuses all requests except public ones while the process is not serving. So no request is handled
 * before the checks at start have passed, and a client with an open connection retries at another
 * process.
 */
export function addReadinessGate(app: FastifyInstance, lifecycle: Lifecycle): void {
  app.addHook('onRequest', async (request) => {
    const refusal = lifecycle.phase === 'draining' ? null : notServingError(lifecycle)
    if (refusal !== null && request.routeOptions.config.access !== 'public') throw refusal
  })
  // An open keep-alive connection would delay the end of the process by more than a minute.
  app.addHook('onSend', async (_request, reply) => {
    const { phase } = lifecycle
    if (phase === 'draining' || phase === 'stopping') void reply.header('connection', 'close')
  })
}

/** The 503 of a process that is not serving, or null. */
function notServingError({ phase }: Lifecycle): AppError | null {
  if (phase === 'serving') return null
  return new AppError('not_ready', REASONS[phase === 'starting' ? phase : 'stopping'], {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  })
}

// Load balancers wait for a probe for one or two seconds.
const TIMEOUT_MS = 1_500

/** Checks whether the database can serve this process now. At most one check runs at a time. */
type Readiness = {
  /** @throws AppError `database_unavailable`, or `not_ready` when the schema is incompatible. */
  check(): Promise<void>
}

/** @param db a pool that requests do not use, so that load does not look like an outage. */
export function createReadiness(db: Db): Readiness {
  let running: Promise<boolean> | null = null

  async function runCheck(): Promise<boolean> {
    // Drops a connection that hangs, for example to a paused or unreachable server.
    await db.raw('select 1').timeout(TIMEOUT_MS)
    return isSchemaCompatible(db)
  }

  return {
    async check() {
      // Not part of the timeout, because the first call reads files, not the database.
      await migrationNames()
      running ??= runCheck().finally(() => {
        running = null
      })
      if (await withTimeout(running)) return
      throw new AppError('not_ready', 'The database schema does not match this release.', {
        retryAfterSeconds: 2,
      })
    },
  }
}

async function withTimeout(check: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS)
  })
  try {
    return await Promise.race([check, timeout])
  } catch (cause) {
    throw new AppError(
      'database_unavailable',
      'The database does not respond. Retry the request in a few seconds.',
      {
        retryAfterSeconds: 2,
        cause,
      },
    )
  } finally {
    clearTimeout(timer)
  }
}

const tags = ['Operations']

// Probes come every second from one address; behind a proxy, all requests may have that address.
const probeConfig = { access: 'public', rateLimit: false } as const

const okSchema = z.object({ status: z.literal('ok') })

/** `/livez`: the process runs. `/readyz`: it can answer requests. Neither needs a key. */
export function healthRoutes(app: App, deps: { lifecycle: Lifecycle; readiness: Readiness }): void {
  app.get(
    '/livez',
    {
      config: probeConfig,
      schema: {
        operationId: 'getLiveness',
        summary: 'Check that the process is alive',
        description: 'Does not check the database: restarting this process would not fix it.',
        tags,
        response: { 200: okSchema },
      },
    },
    async () => ({ status: 'ok' as const }),
  )

  app.get(
    '/readyz',
    {
      config: probeConfig,
      schema: {
        operationId: 'getReadiness',
        summary: 'Check that the process can answer requests',
        description:
          '200 if the database responds and its schema matches this release. 503 while the process starts, drains or stops, and while the database cannot be reached.',
        tags,
        response: { 200: okSchema },
      },
    },
    async () => {
      const refusal = notServingError(deps.lifecycle)
      if (refusal !== null) throw refusal
      await deps.readiness.check()
      return { status: 'ok' as const }
    },
  )
}
