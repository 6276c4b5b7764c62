import type Stripe from 'stripe'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import { type Call, existing, listOperation, operation, type Resource } from '../api/operations.ts'
import { flag, group, ignored, type ShapeOf, text, unsupported } from '../api/params.ts'
import { givenFields } from '../core/changes.ts'
import { invalidParameter, noSuch } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { customers } from './customer.ts'
import {
  addCard,
  cards,
  changeCard,
  detachPaymentMethod,
  setDefaultSource,
} from './saved-payment-method.ts'

const PATH = '/v1/customers/:customer/sources'

const createParams = group({
  metadata: metadataParam().optional(),
  source: text(),
  validate: flag().optional(),
} satisfies ShapeOf<Stripe.CustomerCreateSourceParams>)

const updateParams = group({
  account_holder_name: unsupported('bank account sources'),
  account_holder_type: unsupported('bank account sources'),
  address_city: text().optional(),
  address_country: text().optional(),
  address_line1: text().optional(),
  address_line2: text().optional(),
  address_state: text().optional(),
  address_zip: text().optional(),
  exp_month: text().optional(),
  exp_year: text().optional(),
  metadata: metadataParam().optional(),
  name: text().optional(),
  owner: ignored(),
} satisfies ShapeOf<Stripe.CustomerUpdateSourceParams>)

/** Cards as sources of a customer, the legacy way. @see https://docs.stripe.com/api/cards */
export const cardResource: Resource = {
  kind: cards.name,
  expandable: { customer: { kind: 'customer' } },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: cards.name,
      params: createParams,
      run(call, { metadata, source }, { customer = '' }) {
        const owner = existing(call, customers, customer, 'customer', 404)
        const card = addCard(call, customer, source, changeMetadata({}, metadata))
        if (owner.default_source === null) setDefaultSource(call, customer, card.id)
        return card
      },
    }),
    operation({
      method: 'GET',
      path: `${PATH}/:id`,
      returns: cards.name,
      params: group({}),
      run: (call, _params, path) => cardOfCustomer(call, path),
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: cards.name,
      params: updateParams,
      run(call, { metadata, exp_month: month, exp_year: year, ...params }, path) {
        const { metadata: current, id } = cardOfCustomer(call, path)
        const { address_city, address_country, address_line1, address_line2 } = params
        const { address_state, address_zip, name } = params
        return changeCard(call, id, {
          ...givenFields({ address_city, address_country, address_line1, address_line2 }),
          ...givenFields({ address_state, address_zip, name }),
          ...givenFields({
            exp_month: expiryPart('exp_month', month, 1, 12),
            exp_year: expiryPart('exp_year', year, 2000, 2100),
          }),
          metadata: changeMetadata(current ?? {}, metadata),
        })
      },
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: cards.name,
      params: group({}),
      run(call, _params, path) {
        const { id } = cardOfCustomer(call, path)
        detachPaymentMethod(call, id)
        return { id, object: 'card', deleted: true }
      },
    }),
    listOperation({
      path: PATH,
      table: cards,
      filters: { object: text().optional() },
      where({ object }, call, { customer = '' }) {
        existing(call, customers, customer, 'customer', 404)
        return (card) => (object ?? card.object) === card.object && idOf(card.customer) === customer
      },
    }),
  ],
}

function cardOfCustomer(call: Call, path: { customer?: string; id?: string }): Stripe.Card {
  const { customer = '', id = '' } = path
  existing(call, customers, customer, 'customer', 404)
  const card = call.account.rows(cards).get(id)
  if (card === undefined || idOf(card.customer) !== customer) throw noSuch('source', id, 'id', 404)
  return card
}

/** In the SDK's types these two are texts here and numbers elsewhere. */
function expiryPart(param: string, value: string | undefined, min: number, max: number) {
  if (value === undefined) return undefined
  const number = Number(value)
  if (Number.isInteger(number) && number >= min && number <= max) return number
  throw invalidParameter(param, `Your card's expiration ${param.slice(4)} is invalid.`)
}
