import { isDeepStrictEqual } from 'node:util'

type Plain = Record<string, unknown>

/**
 * What `data.previous_attributes` of an `….updated` event holds: the old value of each key that
 * changed, objects compared key by key, a key that was not there as null.
 *
 * @returns undefined when nothing changed.
 * @see https://docs.stripe.com/api/events/object#event_object-data-previous_attributes
 */
export function changedAttributes(before: object, after: object): Plain | undefined {
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
