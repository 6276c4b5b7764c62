import type { ReturnUrls } from '../../../purchases/return-urls.ts'
import { AppError } from '../../../shared/errors.ts'
import type { ChargeRef } from './charge.ts'
import type { ChargeDeps } from './charge-deps.ts'
import { openLink } from './charge-link.ts'
import { takeAttempt } from './take-attempt.ts'

export type ChargeLink = { url: string | null; session_id: string; expires_at: Date }

/**
 * The link by which the payer pays the charge in person, from the number of the try alone; whatever
 * might be paid in its place is closed first.
 *
 * @throws AppError `payment_in_progress`, `wrong_state`, `stripe_…`
 */
export async function finishLink(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  urls: ReturnUrls,
  actorId: string,
): Promise<ChargeLink> {
  const attempt = await takeAttempt(deps, ref, number, { kind: 'checkout', urls }, actorId)
  const opened = await openLink(deps, ref, attempt)
  if (opened.kind === 'refused') throw new AppError('stripe_refused', opened.message)
  return { url: opened.url, session_id: opened.sessionId, expires_at: opened.expiresAt }
}
