import type { FastifyInstance } from 'fastify'

/**
 * Lets a request without a body name a content type, as many clients do for DELETE; fastify would
 * try to parse the nothing and refuse it.
 */
export function allowEmptyBody(app: FastifyInstance): void {
  app.addHook('onRequest', async ({ raw: { headers } }) => {
    const isChunked = headers['transfer-encoding'] !== undefined
    if (!isChunked && (headers['content-length'] ?? '0') === '0') delete headers['content-type']
  })
}
