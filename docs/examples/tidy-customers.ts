import type Stripe from 'stripe'
import type { FetchTime } from '../../src/mirror/fetch-time.ts'
import type { ColumnType, Defaults } from '../../src/mirror/mirror-column.ts'
import { StripeCustomerAction } from '../../src/mirror/resources/customer-resource.ts'
import type { Synced } from '../../src/mirror/sync-outcome.ts'

/** Normalises e-mail addresses, so that they can be joined with addresses from other systems. */
export class TidyCustomerAction extends StripeCustomerAction {
  /** Receives a copy of the Stripe object. The columns are read from the changed copy. */
  protected override preSetDefault(customer: Stripe.Customer): void {
    customer.name ??= customer.metadata?.['company'] ?? null
  }

  /** Receives the columns before they are written. */
  protected override postSetDefault(defaults: Defaults): void {
    const { email } = defaults
    if (typeof email === 'string') defaults['email'] = email.trim().toLowerCase()
  }
}

/** Fills a column that a migration of your own added: `alter table stripe.customers add column company text`. */
export class CompanyCustomerAction extends TidyCustomerAction {
  protected override addedColumns(): { company: ColumnType } {
    return { company: 'text' }
  }

  protected override async setDefault(customer: Stripe.Customer): Promise<Defaults> {
    return { ...(await super.setDefault(customer)), company: customer.metadata?.['company'] }
  }
}

/** Also logs every new customer. An override of `sync` costs one statement for each object. */
export class AnnouncingCustomerAction extends TidyCustomerAction {
  override async sync(customer: Stripe.Customer, fetchedAt: FetchTime): Promise<Synced> {
    const synced = await super.sync(customer, fetchedAt)
    if (synced.outcome === 'created') this.context.logger.info({ customer: synced.id }, 'welcome')
    return synced
  }
}
