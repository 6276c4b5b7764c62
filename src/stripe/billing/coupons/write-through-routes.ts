import type { FastifyRequest } from 'fastify'
import type { Tx } from '../../../db/connect.ts'
import { callerOf } from '../../../http/caller.ts'
import type { RouteDeps } from '../../../http/route-deps.ts'
import type { MirrorBody } from '../../sync/mirror-body.ts'
import type { StripeObject } from '../../sync/stripe-object.ts'
import type { StripeSyncAction } from '../../sync/stripe-sync-action.ts'
import type { SyncContext } from '../../sync/sync-context.ts'
import type { Asker } from './discount-change.ts'
import { type DiscountDeps, promptContext, viewStored } from './mirrored-answer.ts'

/** One kind of change: what is written down, and what is done from that. */
export type WriteSteps<T extends StripeObject> = {
  /** @returns the change's id. */
  begin: (trx: Tx, asker: Asker) => Promise<string>
  /** @returns the object's id. */
  finish: (deps: DiscountDeps, conferenceId: string, changeId: string) => Promise<string>
  action: (context: SyncContext) => StripeSyncAction<T>
}

/**
 * A request that changes an object at Stripe, from its body to the mirror's row, which is the
 * answer. A repeat under the same Idempotency-Key goes on with what was written down.
 */
export function writeThrough<T extends StripeObject>(
  deps: RouteDeps & DiscountDeps,
  request: FastifyRequest,
  { begin, finish, action }: WriteSteps<T>,
): Promise<MirrorBody> {
  const caller = callerOf(request)
  const { conferenceId } = caller
  return deps.answers.resumable(request, {
    begin: (trx) => begin(trx, caller),
    finish: async (changeId) => {
      const id = await finish(deps, conferenceId, changeId)
      return viewStored(action(promptContext(deps, conferenceId)), id)
    },
  })
}
