import type { FastifyInstance } from 'fastify'

/**
 * One line for each request, with the route's pattern and never its URL: a voucher code is a secret
 * and stands in some of them.
 */
export function addRequestLog(app: FastifyInstance): void {
  app.addHook('onResponse', async (request, reply) => {
    const line = {
      method: request.method,
      route: request.routeOptions.url ?? 'unknown',
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      ...(request.conferenceId === null ? {} : { conference: request.conferenceId }),
      ...(request.principal === null ? {} : { key: request.principal.keyId }),
    }
    if (request.routeOptions.config.access === 'public') request.log.debug(line, 'request')
    else request.log.info(line, 'request')
  })
}
