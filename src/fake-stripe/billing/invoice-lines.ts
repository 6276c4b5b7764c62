import { formatAmount } from '../core/currency.ts'
import { fakeId } from '../core/fake-id.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import type { WireInvoiceLine } from '../objects/invoice.ts'
import type { WireInvoiceItem } from '../objects/invoice-item.ts'
import type { WirePrice } from '../objects/price.ts'
import { products } from '../objects/product.ts'
import type { WireSubscriptionItem } from '../objects/subscription.ts'

export type Period = { start: number; end: number }

/** Smallest unit. */
export function priceAmount(price: WirePrice, quantity: number): number {
  if (price.unit_amount !== null) return price.unit_amount * quantity
  return Math.round(Number(price.unit_amount_decimal ?? 0) * quantity)
}

/** One period of a subscription's item; a trial costs nothing. */
export function subscriptionLine(
  scope: Scope,
  item: WireSubscriptionItem,
  period: Period,
  trial: boolean,
): WireInvoiceLine {
  const { price, quantity = 1 } = item
  const amount = trial ? 0 : priceAmount(price, quantity)
  const name = scope.account.rows(products).get(price.product)?.name ?? price.nickname ?? price.id
  const each = formatAmount(priceAmount(price, 1), price.currency)
  return {
    ...emptyLine(scope, price.currency, amount),
    description: trial
      ? `Trial period for ${name}`
      : `${quantity} × ${name} (at ${each} / ${price.recurring?.interval ?? 'once'})`,
    parent: {
      invoice_item_details: null,
      subscription_item_details: {
        invoice_item: null,
        proration: false,
        proration_details: null,
        subscription: item.subscription,
        subscription_item: item.id,
      },
      type: 'subscription_item_details',
    },
    period,
    pricing: pricingOf(price, trial),
    quantity,
    quantity_decimal: String(quantity),
    subscription: item.subscription,
  }
}

/** What was put on the invoice by hand. */
export function itemLine(scope: Scope, item: WireInvoiceItem): WireInvoiceLine {
  const subscription = item.parent?.subscription_details?.subscription ?? null
  return {
    ...emptyLine(scope, item.currency, item.amount),
    description: item.description,
    discountable: item.discountable,
    metadata: item.metadata ?? {},
    parent: {
      invoice_item_details: {
        invoice_item: item.id,
        proration: false,
        proration_details: null,
        subscription,
      },
      subscription_item_details: null,
      type: 'invoice_item_details',
    },
    period: item.period,
    pricing: item.pricing,
    quantity: item.quantity,
    quantity_decimal: item.quantity_decimal,
    subscription,
  }
}

export function pricingOf(price: WirePrice, trial = false): WireInvoiceLine['pricing'] {
  return {
    price_details: { price: price.id, product: idOf(price.product) ?? '' },
    type: 'price_details',
    unit_amount_decimal: trial ? '0' : price.unit_amount_decimal,
  }
}

function emptyLine({ account }: Scope, currency: string, amount: number): WireInvoiceLine {
  return {
    id: fakeId('il_1'),
    object: 'line_item',
    amount,
    currency,
    description: null,
    discount_amounts: [],
    discountable: true,
    discounts: [],
    invoice: null,
    livemode: account.livemode,
    metadata: {},
    parent: null,
    period: { start: 0, end: 0 },
    pretax_credit_amounts: [],
    pricing: null,
    quantity: 1,
    quantity_decimal: '1',
    subscription: null,
    subtotal: amount,
    taxes: [],
  }
}
