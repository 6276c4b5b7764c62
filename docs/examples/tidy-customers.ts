import type Stripe from 'stripe'
import type { FetchTime } from '../../src/mirror/fetch-time.ts'
import type { Defaults } from '../../src/mirror/mirror-column.ts'
import { StripeCustomerAction } from '../../src/mirror/resources/customer-resource.ts'
import type { Synced } from '../../src/mirror/sync-outcome.ts'

/** Customers whose e-mail addresses can be joined with addresses from elsewhere. */
export class TidyCustomerAction extends StripeCustomerAction {
  /** Sees a copy of Stripe's object; what it changes is read into the columns. */
  protected override preSetDefault(customer: Stripe.Customer): void {
    customer.name ??= customer.metadata?.['company'] ?? null
  }

  /** Sees the columns before they are written. */
  protected override postSetDefault(defaults: Defaults): void {
    const { email } = defaults
    if (typeof email === 'string') defaults['email'] = email.trim().toLowerCase()
  }
}

/** Also tells of every new customer, which costs a statement for each object. */
export class AnnouncingCustomerAction extends TidyCustomerAction {
  override async sync(customer: Stripe.Customer, readAt?: FetchTime): Promise<Synced> {
    const synced = await super.sync(customer, readAt)
    if (synced.outcome === 'created') this.context.logger.info({ customer: synced.id }, 'welcome')
    return synced
  }
}
