import { livemodeOf } from '../../conferences/stripe-credentials.ts'
import { sha256 } from '../../shared/hash.ts'

/**
 * Whose budget a key uses. Conferences on one account share it; Stripe limits test mode apart from
 * live. Until the account is known it is a hash that the key cannot be told from: the budget's table
 * and the log show this name.
 *
 * @param account - `acct_…` or null.
 */
export function accountKeyOf(stripeKey: string, account: string | null): string {
  if (account === null) return `key_${sha256(stripeKey).slice(0, 32)}`
  return livemodeOf(stripeKey) ? account : `${account}:test`
}
