import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Db } from '../db/connect.ts'
import { isSchemaCompatible } from '../db/migrations.ts'
import { AppError } from '../shared/errors.ts'
import type { App } from './route-deps.ts'

/**
 * `starting`: the database is not checked yet, and until then nobody is answered from it.
 * `stopping`: what runs may end, and nothing new begins.
 */
export type Phase = 'starting' | 'serving' | 'stopping'

/** Where the process stands; main.ts moves it, requests and /readyz look at it. */
export type Lifecycle = {
  readonly phase: Phase
  /** Opens the door, unless the process is stopping already. */
  serve(): void
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
    stop() {
      now = 'stopping'
    },
  }
}

const REASONS = {
  starting: 'The service is starting.',
  stopping: 'The service is stopping. Another process answers in a moment.',
} as const

// Seconds. Another process takes over at once; a start waits for migrations.
const RETRY_AFTER_SECONDS = 2

/** The 503 of a process that does not serve, or null. */
function notServingError({ phase }: Lifecycle): AppError | null {
  if (phase === 'serving') return null
  return new AppError('not_ready', REASONS[phase], { retryAfterSeconds: RETRY_AFTER_SECONDS })
}

/**
 * Refuses every request but the public ones while the process does not serve: nobody is answered
 * before the checks of the start passed, and a client that keeps its connection open is sent to
 * another process.
 */
export function addReadinessGate(app: FastifyInstance, lifecycle: Lifecycle): void {
  app.addHook('onRequest', async (request) => {
    const refusal = notServingError(lifecycle)
    if (refusal !== null && request.routeOptions.config.access !== 'public') throw refusal
  })
  // A connection that stays open after its answer would keep the process for over a minute.
  app.addHook('onSend', async (_request, reply) => {
    if (lifecycle.phase === 'stopping') void reply.header('connection', 'close')
  })
}

// Shorter than the second or two that a load balancer waits for a probe.
const TIMEOUT_MS = 1_500

/** Asks the database whether it can serve us now; at most one question is under way. */
type Readiness = {
  /** @throws AppError `database_unavailable`, or `not_ready` when the schema is not ours. */
  check(): Promise<void>
}

/** @param db a pool that busy requests do not share, so that load does not look like an outage. */
export function createReadiness(db: Db): Readiness {
  let asking: Promise<boolean> | null = null

  async function ask(): Promise<boolean> {
    // Drops a connection that hangs, as that of a server which was paused or cut off.
    await db.raw('select 1').timeout(TIMEOUT_MS)
    return isSchemaCompatible(db)
  }

  return {
    async check() {
      asking ??= ask().finally(() => {
        asking = null
      })
      const serves = await withTimeout(asking)
      if (serves) return
      throw new AppError('not_ready', 'The database schema does not serve this release.', {
        retryAfterSeconds: 2,
      })
    },
  }
}

async function withTimeout(asking: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS)
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

const tags = ['Operations']

// A probe comes every second from one address, which may be the one that all requests come from.
const probeConfig = { access: 'public', rateLimit: false } as const

const okSchema = z.object({ status: z.literal('ok') })

/** `/livez`: the process runs. `/readyz`: it can answer requests. Nobody needs a key for them. */
export function healthRoutes(app: App, deps: { lifecycle: Lifecycle; readiness: Readiness }): void {
  app.get(
    '/livez',
    {
      config: probeConfig,
      schema: {
        operationId: 'getLiveness',
        summary: 'Is the process alive?',
        description: 'Asks nothing of the database: restarting us would not bring that back.',
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
        summary: 'Can the process answer requests?',
        description:
          '200 once the database answers and its schema serves this release; 503 before, while the database is away, and while the process stops.',
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
