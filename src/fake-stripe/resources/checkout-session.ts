import { embeddedList, itemListOperation } from '../api/item-list.ts'
import { createdWithin, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { choice, group, text, timeRange } from '../api/params.ts'
import { existing, operation, type Resource, retrieveOperation } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { refused } from '../core/stripe-error.ts'
import { checkoutSessions } from '../objects/checkout-session.ts'
import { sessionLines, type WireLineItem } from '../objects/line-item.ts'
import { expireSession } from '../payments/expire-session.ts'
import { openSession } from '../payments/open-session.ts'
import { sessionCreateParams, sessionUpdateParams } from './checkout-session-params.ts'

const PATH = '/v1/checkout/sessions'
const kind = checkoutSessions.name

/** @see https://docs.stripe.com/api/checkout/sessions */
export const checkoutSessionResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    line_items: { kind: 'item', list: true, load: firstLines },
    payment_intent: { kind: 'payment_intent' },
    setup_intent: { kind: 'setup_intent' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: sessionCreateParams,
      run: openSession,
    }),
    retrieveOperation(`${PATH}/:id`, checkoutSessions, 'session'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: sessionUpdateParams,
      run(call, { metadata }, { id = '' }) {
        const session = existing(call, checkoutSessions, id, 'session', 404)
        const merged = changeMetadata(session.metadata ?? {}, metadata)
        return changeRow(call, checkoutSessions, id, { metadata: merged })
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/expire`,
      returns: kind,
      params: group({}),
      run(call, _params, { id = '' }) {
        const { status } = existing(call, checkoutSessions, id, 'session', 404)
        if (status !== 'open')
          throw refused(
            `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of \`${status}\`.`,
          )
        return expireSession(call, id)
      },
    }),
    listOperation({
      path: PATH,
      table: checkoutSessions,
      filters: {
        created: timeRange().optional(),
        customer: text().optional(),
        customer_account: text().optional(),
        customer_details: group({ email: text() }).optional(),
        payment_intent: text().optional(),
        payment_link: text().optional(),
        status: choice('status', ['open', 'complete', 'expired']).optional(),
        subscription: text().optional(),
      },
      where({
        created,
        customer,
        customer_details: payer,
        payment_intent: intent,
        status,
        ...none
      }) {
        const within = createdWithin(created)
        // The fake makes no payment links and subscriptions, so nothing can match them.
        const impossible = Object.values(none).some((value) => value !== undefined)
        return (session) =>
          !impossible &&
          within(session) &&
          (customer ?? idOf(session.customer)) === idOf(session.customer) &&
          (intent ?? idOf(session.payment_intent)) === idOf(session.payment_intent) &&
          (payer === undefined || payer.email === session.customer_details?.email) &&
          (status ?? session.status) === session.status
      },
    }),
    itemListOperation({
      path: `${PATH}/:id/line_items`,
      kind: 'item',
      parents: checkoutSessions,
      param: 'session',
      itemsOf: linesOf,
    }),
  ],
}

function firstLines(scope: Scope, id: string) {
  return embeddedList(linesOf(scope, id), `${PATH}/${id}/line_items`)
}

function linesOf({ account }: Scope, id: string): WireLineItem[] {
  return account.rows(sessionLines).get(id)?.items ?? []
}

/** Line items have no endpoint of their own. */
export const lineItemResource: Resource = {
  kind: 'item',
  expandable: { price: { kind: 'price', inline: true } },
  operations: [],
}
