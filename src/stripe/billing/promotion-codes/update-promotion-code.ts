import type Stripe from 'stripe'
import type { Tx } from '../../../db/connect.ts'
import { AppError, notFound } from '../../../shared/errors.ts'
import { isStoredError } from '../../checkout.ts'
import { refusalMessage, toAppError } from '../../stripe-errors.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { resource, StripePromotionCodeAction } from '../../sync/resources/promotion-codes.ts'
import { type Asker, beginChange, finishChange } from '../coupons/discount-change.ts'
import { toStripeMetadata } from '../coupons/discount-fields.ts'
import {
  assertMirrored,
  type DiscountDeps,
  promptContext,
  readForChange,
  storeAnswer,
} from '../coupons/mirrored-answer.ts'
import type { UpdatePromotionCodeInput } from './promotion-code-schemas.ts'

/**
 * Writes down what is to be changed, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `not_found` for what the mirror does not have.
 */
export async function beginUpdatePromotionCode(
  trx: Tx,
  asker: Asker,
  id: string,
  { active, metadata }: UpdatePromotionCodeInput,
): Promise<string> {
  await assertMirrored(trx, asker.conferenceId, resource, id)
  const params: Stripe.PromotionCodeUpdateParams = {
    ...(active === undefined ? {} : { active }),
    ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
  }
  return beginChange(trx, asker, {
    kind: 'promotion_code',
    action: 'update',
    object_id: id,
    params,
  })
}

/**
 * Changes the promotion code at Stripe and in the mirror. May be repeated after an unknown outcome.
 *
 * @returns Stripe's id of it.
 * @throws AppError `not_found`, also for another conference's; `wrong_state` for turning the code of a
 * voucher off or on; `stripe_refused`, such as for turning on what has expired; `stripe_…`.
 */
export function finishUpdatePromotionCode(
  deps: DiscountDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return finishChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripePromotionCodeAction(promptContext(deps, conferenceId))
    const known = await readForChange(action, id)
    if (known === null) throw notFound('promotion code')
    // It follows its voucher: on by itself, a code that was paid back could be used.
    if ('active' in change.params && known.metadata?.['voucher_batch'] !== undefined) {
      throw new AppError(
        'wrong_state',
        'It is the promotion code of a voucher: deactivate or activate the voucher instead.',
      )
    }
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await readingTime(deps.db)
    const answer = await updateAtStripe(stripe, id, change.params, changeId)
    await storeAnswer(action, answer, readAt)
    return id
  })
}

async function updateAtStripe(
  stripe: Stripe,
  id: string,
  params: Stripe.PromotionCodeUpdateParams,
  idempotencyKey: string,
): Promise<Stripe.Response<Stripe.PromotionCode>> {
  try {
    return await stripe.promotionCodes.update(id, params, { idempotencyKey })
  } catch (error) {
    // The same key can never end otherwise; whoever asks again gets a new one.
    if (isStoredError(error)) throw new AppError('stripe_refused', refusalMessage(error))
    throw toAppError(error)
  }
}
