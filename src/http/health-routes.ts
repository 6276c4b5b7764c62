import { z } from 'zod'
import { notServing } from './door.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Readiness } from './readiness.ts'
import type { App } from './route-deps.ts'

const tags = ['Operations']

// A probe comes every second from one address, which may be the one that all requests come from.
const config = { access: 'public', rateLimit: false } as const

const status = z.object({ status: z.literal('ok') })

/** `/livez`: the process runs. `/readyz`: it can answer requests. Nobody needs a key for them. */
export function healthRoutes(app: App, deps: { lifecycle: Lifecycle; readiness: Readiness }): void {
  app.get(
    '/livez',
    {
      config,
      schema: {
        operationId: 'getLiveness',
        summary: 'Is the process alive?',
        description: 'Asks nothing of the database: restarting us would not bring that back.',
        tags,
        response: { 200: status },
      },
    },
    async () => ({ status: 'ok' as const }),
  )

  app.get(
    '/readyz',
    {
      config,
      schema: {
        operationId: 'getReadiness',
        summary: 'Can the process answer requests?',
        description:
          '200 once the database answers and its schema serves this release; 503 before, while the database is away, and while the process stops.',
        tags,
        response: { 200: status },
      },
    },
    async () => {
      const refusal = notServing(deps.lifecycle)
      if (refusal !== null) throw refusal
      await deps.readiness.check()
      return { status: 'ok' as const }
    },
  )
}
