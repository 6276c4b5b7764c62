import { isDeepStrictEqual } from 'node:util'
import type Stripe from 'stripe'
import { InvalidState } from './errors.ts'
import { fakeId } from './ids.ts'
import { defineTable, type Row, type Table } from './rows.ts'
import type { Scope } from './scope.ts'

/**
 * Replaces some fields of the row in its current state, which can be newer than the caller's copy.
 *
 * @throws Error when the row does not exist.
 */
export function changeRow<T extends Row>(
  { account }: Scope,
  table: Table<T>,
  id: string,
  patch: Partial<T>,
): T {
  const rows = account.rows(table)
  const row = rows.get(id)
  if (row === undefined) throw new Error(`${table.name} ${id} does not exist`)
  return rows.replace({ ...row, ...patch })
}

/** A row by its id. @throws InvalidState when there is none. */
export function requireRow<T extends Row>(
  { account }: Scope,
  table: Table<T>,
  id: string | null | undefined,
): T {
  const row = id ? account.rows(table).get(id) : undefined
  if (row === undefined) throw new InvalidState(`There is no ${table.label} ${id}.`)
  return row
}

/** The fields that a request sets; fields that are undefined are left out. */
export function givenFields<T extends object>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const set = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(set) as { [K in keyof T]?: Exclude<T[K], undefined> } // as filtered
}

/** The only API version that the fake implements; the type makes it the version of the SDK. */
export const API_VERSION: Stripe.LatestApiVersion = '2026-10-28.endive'

export const events = defineTable<Stripe.EventBase>('event')

/**
 * Stores an event and sends it to the webhook endpoints. Rows are replaced, never changed in place,
 * so the object in the event stays as it was.
 *
 * @param before the object before the change; gives `data.previous_attributes`.
 */
export function emitEvent(scope: Scope, type: Stripe.Event.Type, object: object, before?: object) {
  const { account, world, cause } = scope
  const previous = before === undefined ? undefined : changedAttributes(before, object)
  const event = account.rows(events).insert({
    id: fakeId('evt_1'),
    object: 'event',
    api_version: API_VERSION,
    created: world.clock.seconds(),
    data: previous === undefined ? { object } : { object, previous_attributes: previous },
    livemode: account.livemode,
    pending_webhooks: 0,
    request: { id: cause.requestId, idempotency_key: cause.idempotencyKey },
    type,
  })
  world.publish(account, event)
}

type Plain = Record<string, unknown>

/**
 * The `data.previous_attributes` of an `….updated` event: the old value of each key that changed.
 * Objects are compared key by key; a key that did not exist has the old value null.
 *
 * @returns undefined when nothing changed.
 * @see https://docs.stripe.com/api/events/object#event_object-data-previous_attributes
 */
function changedAttributes(before: object, after: object): Plain | undefined {
  const changed: Plain = {}
  const old: Plain = { ...before }
  for (const [key, value] of Object.entries({ ...blanks(old), ...after })) {
    const previous = old[key]
    if (isDeepStrictEqual(previous, value)) continue
    const nested =
      isPlain(previous) && isPlain(value) ? changedAttributes(previous, value) : undefined
    changed[key] = nested ?? previous ?? null
  }
  return Object.keys(changed).length > 0 ? changed : undefined
}

function blanks(keys: Plain): Plain {
  return Object.fromEntries(Object.keys(keys).map((key) => [key, undefined]))
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
