import Stripe from 'stripe'
import type { ListingReader, PageRequest } from '../../../src/mirror/runs/list-by-window.ts'
import type { StripeObject } from '../../../src/stripe/stripe-objects.ts'

export type ListedObjects = {
  /** The ids of the objects that are left, newest first. */
  ids(): string[]
  /** Deletes an object. A request for the page after it then answers 404. */
  remove(id: string): void
  /** The requests, in order. */
  readonly requests: PageRequest[]
  walk: ListingReader<StripeObject>
}

/**
 * A list like Stripe's, newest first, with `created` and `starting_after`.
 *
 * @param options.delay awaited before each answer.
 * @param options.pageSize Stripe can return fewer objects than requested.
 */
export function listObjects(
  times: readonly number[],
  options: { pageSize?: number; delay?: () => Promise<void> } = {},
): ListedObjects {
  const objects = times
    .map((created, index) => ({ id: `cus_${index}`, created }))
    .toSorted((a, b) => b.created - a.created)
  const removed = new Set<string>()
  const requests: PageRequest[] = []
  let clock = 0

  async function fetch(request: PageRequest) {
    requests.push(structuredClone(request))
    await options.delay?.()
    const { limit, starting_after: after, created = {} } = request.params
    if (after !== undefined && removed.has(after)) throw noSuchObject(after)
    const begin = after === undefined ? 0 : objects.findIndex(({ id }) => id === after) + 1
    const found = objects
      .slice(begin)
      .filter(({ id }) => !removed.has(id))
      .filter((object) => object.created >= (created.gte ?? 0))
      .filter((object) => object.created < (created.lt ?? Number.POSITIVE_INFINITY))
    const size = Math.min(limit, options.pageSize ?? limit)
    return { data: found.slice(0, size), has_more: found.length > size }
  }

  return {
    ids: () => objects.map(({ id }) => id).filter((id) => !removed.has(id)),
    remove: (id) => void removed.add(id),
    requests,
    walk: {
      fetch,
      since: null,
      now: () => (clock += 1),
      idleSince: () => 0,
    },
  }
}

function noSuchObject(id: string): Error {
  return new Stripe.errors.StripeInvalidRequestError({
    message: `No such customer: '${id}'`,
    type: 'invalid_request_error',
    code: 'resource_missing',
    statusCode: 404,
  })
}
