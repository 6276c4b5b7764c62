import type { FastifyRequest } from 'fastify'
import type { Db, Tx } from '../db/connect.ts'
import { withOwner } from '../db/tenant-scope.ts'
import { actorOf, principalOf } from './access-control.ts'

/** Runs `work` in the scope of the request's path: its conference, or else the platform. */
export function inCallerScope<T>(
  db: Db,
  request: FastifyRequest,
  work: (trx: Tx) => Promise<T>,
): Promise<T> {
  const { conferenceId } = request
  return withOwner(db, { conferenceId, actor: actorOf(principalOf(request)) }, work)
}
