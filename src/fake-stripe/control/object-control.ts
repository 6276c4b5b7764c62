import qs from 'qs'
import type Stripe from 'stripe'
import { parseForm } from '../api/form.ts'
import type { Operation } from '../api/resource.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import type { Row } from '../core/rows.ts'
import { defineTable } from '../core/table.ts'
import type { World } from '../core/world.ts'
import { ALL_RESOURCES } from '../resources/all-resources.ts'
import type { AccountReference } from './account-control.ts'
import { findAccount, handScope, ownerOf } from './find-object.ts'

/** An object as the API shows it. */
export type StripeObject = Row & { object: string }

/** Objects, made and read without a request that the log or a trouble switch would see. */
export type ObjectControl = {
  /** The object with this id, in whatever account. @throws NotPossible when there is none. */
  get(id: string): StripeObject
  /** All objects of a kind, such as `charge`, newest first. */
  list(account: AccountReference, kind: string): StripeObject[]
  /**
   * What the API would do for this request, at once and without HTTP.
   *
   * @throws StripeError as the API would answer it.
   */
  call(
    account: AccountReference,
    method: Operation['method'],
    path: string,
    params?: object,
  ): unknown
  /**
   * Stores objects of any kind as they are, new or replacing those with the same id, for example a
   * million coupons. Nothing is checked.
   *
   * @param event sent for each of them; absent: silently.
   */
  put<T extends StripeObject>(
    account: AccountReference,
    objects: T | readonly T[],
    event?: Stripe.Event.Type,
  ): void
}

export function objectControl(world: World): ObjectControl {
  return {
    get(id) {
      const { object } = ownerOf(world, id)
      return object as StripeObject // every public row carries its `object`
    },
    list: (account, kind) =>
      findAccount(world, account).rows(defineTable<StripeObject>(kind)).all(),
    call(account, method, path, params = {}) {
      const [operation, pathParams] = findOperation(method, path)
      const run = operation.prepare(parseForm(qs.stringify(params)), pathParams)
      return run({ ...handScope(world, findAccount(world, account)), decline: null })
    },
    put(account, objects, event) {
      const scope = handScope(world, findAccount(world, account))
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
  for (const operation of ALL_RESOURCES.flatMap((resource) => resource.operations)) {
    const wanted = operation.path.split('/')
    if (operation.method !== method || wanted.length !== given.length) continue
    if (wanted.every((segment, index) => segment.startsWith(':') || segment === given[index]))
      return [operation, pathParams(wanted, given)]
  }
  throw new NotPossible(`The fake Stripe has no ${method} ${path}`)
}

function pathParams(wanted: string[], given: string[]): Record<string, string> {
  const pairs = wanted.map((segment, index): [string, string] => [segment, given[index] ?? ''])
  const named = pairs.filter(([segment]) => segment.startsWith(':'))
  return Object.fromEntries(named.map(([segment, value]) => [segment.slice(1), value]))
}
