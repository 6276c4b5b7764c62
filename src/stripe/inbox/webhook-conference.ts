import { findConferenceId, getConference } from '../../conferences/conference-store.ts'
import { readWebhookSecrets } from '../../conferences/stripe-credentials.ts'
import type { Db } from '../../db/connect.ts'
import { withSystem } from '../../db/tenant-scope.ts'
import type { Encryption } from '../../shared/encryption.ts'
import type { EventOwner } from './inbox-event.ts'
import { shareLookups } from './share-lookups.ts'

/** A conference as its webhook endpoint needs it, secrets in the clear. */
export type WebhookConference = EventOwner & { secrets: string[] }

/**
 * Finds the conference behind a slug or id. A secret counts from the commit that added it until the
 * commit that deleted it, in every process, so nothing is cached; a burst shares look-ups instead.
 */
export function createWebhookConferences(deps: {
  db: Db
  encryption: Encryption
}): (slugOrId: string) => Promise<WebhookConference | null> {
  return shareLookups((slugOrId) =>
    withSystem(deps.db, 'resolve-conference', async (trx) => {
      const id = await findConferenceId(trx, slugOrId)
      if (id === null) return null
      const { livemode, stripeAccount } = await getConference(trx, id)
      const secrets = await readWebhookSecrets(trx, deps.encryption, id)
      return { id, livemode, stripeAccount, secrets }
    }),
  )
}
