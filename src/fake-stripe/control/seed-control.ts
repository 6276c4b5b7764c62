import type { Row } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import type { Table } from '../core/table.ts'
import type { World } from '../core/world.ts'
import { buildCoupon, coupons } from '../objects/coupon.ts'
import { buildCustomer, customers } from '../objects/customer.ts'
import { buildProduct, products } from '../objects/product.ts'
import type { AccountReference } from './account-control.ts'
import { findAccount, handScope } from './find-object.ts'

/** When the objects were created: seconds since 1970, the ends included. Default: the last 30 days. */
export type SeedSpan = { from?: number | undefined; to?: number | undefined }

/**
 * Objects in bulk, for benchmarks: without requests and events, 10,000 in a quarter of a second.
 * Their `created` is spread evenly over the span. Each method returns the ids, oldest first.
 */
export type SeedControl = {
  /** With e-mail addresses, names and metadata. */
  seedCustomers(account: AccountReference, count: number, span?: SeedSpan): string[]
  /** By percentage, once. */
  seedCoupons(account: AccountReference, count: number, span?: SeedSpan): string[]
  seedProducts(account: AccountReference, count: number, span?: SeedSpan): string[]
}

const THIRTY_DAYS_SECONDS = 30 * 24 * 60 * 60

export function seedControl(world: World): SeedControl {
  const seeder =
    <T extends Row>(table: Table<T>, build: (scope: Scope, index: number, created: number) => T) =>
    (account: AccountReference, count: number, span: SeedSpan = {}): string[] => {
      const scope = handScope(world, findAccount(world, account))
      const { to = world.clock.seconds(), from = to - THIRTY_DAYS_SECONDS } = span
      const step = count > 1 ? (to - from) / (count - 1) : 0
      const rows = Array.from({ length: count }, (_, index) =>
        build(scope, index, Math.floor(from + index * step)),
      )
      scope.account.rows(table).insertMany(rows)
      return rows.map(({ id }) => id)
    }
  return {
    seedCustomers: seeder(customers, (scope, index, created) =>
      buildCustomer(scope, {
        created,
        email: `customer-${index}@example.com`,
        name: `Customer ${index}`,
        metadata: { number: String(index) },
      }),
    ),
    seedCoupons: seeder(coupons, (scope, index, created) =>
      buildCoupon(scope, { created, name: `Coupon ${index}`, percent_off: (index % 100) + 1 }),
    ),
    seedProducts: seeder(products, (scope, index, created) =>
      buildProduct(scope, { created, name: `Product ${index}` }),
    ),
  }
}
