import qs from 'qs'
import type Stripe from 'stripe'
import type { Operation } from '../api/operations.ts'
import { parseForm } from '../api/params.ts'
import { emitEvent, requireRow } from '../core/changes.ts'
import { InvalidState } from '../core/errors.ts'
import { defineTable, type Row, type Table } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import type { FakeState } from '../fake-state.ts'
import { ALL_RESOURCES } from '../kinds/all-kinds.ts'
import { buildCoupon, coupons } from '../kinds/coupon.ts'
import { buildCustomer, customers } from '../kinds/customer.ts'
import { prices } from '../kinds/price.ts'
import { deletePrice } from '../kinds/price-api.ts'
import { buildProduct, products } from '../kinds/product.ts'
import { type AccountReference, findAccount, findOwner, manualScope } from './account-control.ts'

/** An object as the API shows it. */
export type StripeObject = Row & { object: string }

/**
 * Creates and reads objects without a request; the request log and injected faults do not see it.
 */
export type ObjectControl = {
  /** The object with this id, in any account. @throws InvalidState when there is none. */
  get(id: string): StripeObject
  /** All objects of a kind, such as `charge`, newest first. */
  list(account: AccountReference, kind: string): StripeObject[]
  /**
   * Performs an API request immediately and without HTTP.
   *
   * @throws StripeError for a request that the API refuses.
   */
  call(
    account: AccountReference,
    method: Operation['method'],
    path: string,
    params?: object,
  ): unknown
  /**
   * Stores objects of any kind unchecked; an object replaces one with the same id. For example a
   * million coupons.
   *
   * @param event an event to send for each object; absent: none.
   */
  put<T extends StripeObject>(
    account: AccountReference,
    objects: T | readonly T[],
    event?: Stripe.Event.Type,
  ): void
}

export function objectControl(state: FakeState): ObjectControl {
  return {
    get(id) {
      const { object } = findOwner(state, id)
      return object as StripeObject // every public row carries its `object`
    },
    list: (account, kind) =>
      findAccount(state, account).rows(defineTable<StripeObject>(kind)).all(),
    call(account, method, path, params = {}) {
      const [operation, pathParams] = findOperation(method, path)
      const run = operation.prepare(parseForm(qs.stringify(params)), pathParams)
      return run({ ...manualScope(state, findAccount(state, account)), decline: null, expand: [] })
    },
    put(account, objects, event) {
      const scope = manualScope(state, findAccount(state, account))
      for (const [kind, ofKind] of byKind(isList(objects) ? objects : [objects])) {
        const rows = scope.account.rows(defineTable<StripeObject>(kind))
        const before = new Map(ofKind.map(({ id }) => [id, rows.get(id)]))
        rows.insertMany(ofKind.filter(({ id }) => before.get(id) === undefined))
        for (const object of ofKind) {
          rows.replace(object)
          if (event !== undefined) emitEvent(scope, event, object, before.get(object.id))
        }
      }
    },
  }
}

function byKind(objects: readonly StripeObject[]): Map<string, StripeObject[]> {
  const kinds = new Map<string, StripeObject[]>()
  for (const object of objects) {
    const known = kinds.get(object.object)
    if (known === undefined) kinds.set(object.object, [object])
    else known.push(object)
  }
  return kinds
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}

function findOperation(method: string, path: string): [Operation, Record<string, string>] {
  const given = path.split('/')
  const matches = ALL_RESOURCES.flatMap((resource) => resource.operations).filter((operation) => {
    const wanted = operation.path.split('/')
    if (operation.method !== method || wanted.length !== given.length) return false
    return wanted.every((segment, index) => segment.startsWith(':') || segment === given[index])
  })
  // `/v1/customers/search` also matches `/v1/customers/:id`: a path without placeholders wins.
  const operation = matches.find((match) => !match.path.includes(':')) ?? matches[0]
  if (operation === undefined)
    throw new InvalidState(`fake-stripe does not implement ${method} ${path}.`)
  return [operation, pathParams(operation.path.split('/'), given)]
}

function pathParams(wanted: string[], given: string[]): Record<string, string> {
  const pairs = wanted.map((segment, index): [string, string] => [segment, given[index] ?? ''])
  const named = pairs.filter(([segment]) => segment.startsWith(':'))
  return Object.fromEntries(named.map(([segment, value]) => [segment.slice(1), value]))
}

/** The span of `created`, in seconds since 1970, both ends included. Default: the last 30 days. */
export type SeedSpan = { from?: number | undefined; to?: number | undefined }

/**
 * Creates many objects, for benchmarks: without requests and events, 10,000 in a quarter of a
 * second. Their `created` is spread evenly over the span. Each method returns the ids, oldest
 * first.
 */
export type SeedControl = {
  /** With e-mail addresses, names and metadata. */
  seedCustomers(account: AccountReference, count: number, span?: SeedSpan): string[]
  /** With `percent_off` and the duration `once`. */
  seedCoupons(account: AccountReference, count: number, span?: SeedSpan): string[]
  seedProducts(account: AccountReference, count: number, span?: SeedSpan): string[]
}

const THIRTY_DAYS_SECONDS = 30 * 24 * 60 * 60

export function seedControl(state: FakeState): SeedControl {
  const seeder =
    <T extends Row>(table: Table<T>, build: (scope: Scope, index: number, created: number) => T) =>
    (account: AccountReference, count: number, span: SeedSpan = {}): string[] => {
      const scope = manualScope(state, findAccount(state, account))
      const { to = state.clock.seconds(), from = to - THIRTY_DAYS_SECONDS } = span
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

/** Changes of the catalogue that are possible only in Stripe's dashboard. */
export type CatalogControl = {
  /**
   * Deletes a price, which the API does not offer. Sends `price.deleted`, and `plan.deleted` for a
   * recurring price.
   *
   * @throws InvalidState when there is none.
   * @throws StripeError while it is the default price of its product.
   */
  deletePrice(price: string): void
}

export function catalogControl(state: FakeState): CatalogControl {
  return {
    deletePrice(id) {
      const { scope } = findOwner(state, id)
      deletePrice(scope, requireRow(scope, prices, id))
    },
  }
}
