import { expect, it } from 'vitest'
import { listByParent } from '../../../src/mirror/runs/list-by-parent.ts'
import type { StripeObject } from '../../../src/stripe/stripe-objects.ts'
import { listObjects } from './listed-objects.ts'

const times = (count: number) => Array.from({ length: count }, (_, index) => 1_000 + index)

/** The parents, in batches of two. */
const parentsOf = (ids: string[]) => async (after: string | null) =>
  ids.filter((id) => after === null || id > after).slice(0, 2)

async function walkAll(pages: AsyncGenerator<{ objects: StripeObject[]; advance(): unknown }>) {
  const objects: string[] = []
  const cursors: unknown[] = []
  for await (const page of pages) {
    objects.push(...page.objects.map(({ id }) => id))
    cursors.push(page.advance())
  }
  return { objects, cursors }
}

it('reads the whole lists of all parents and combines short ones into a page', async () => {
  const lists = new Map(['a', 'b', 'c'].map((id) => [id, listObjects(times(130))]))
  const walk = {
    since: null,
    now: () => 1,
    idleSince: () => 0,
    fetch: async (request: Parameters<ReturnType<typeof listObjects>['walk']['fetch']>[0]) =>
      (lists.get(request.parent ?? '') ?? listObjects([])).walk.fetch(request),
  }
  const { objects, cursors } = await walkAll(listByParent(walk, parentsOf(['a', 'b', 'c']), null))
  expect(objects).toHaveLength(390)
  expect(cursors.at(-1)).toEqual({ by: 'parents', done: true, parent: null })
  const rest = await walkAll(listByParent(walk, parentsOf(['a', 'b', 'c']), 'b'))
  expect(rest.objects).toHaveLength(130)
})

it('misses no object if the object at the position is detached', async () => {
  const list = listObjects(times(250))
  let asked = 0
  const walk = {
    ...list.walk,
    fetch: async (request: Parameters<typeof list.walk.fetch>[0]) => {
      asked += 1
      if (asked === 2) list.remove(request.params.starting_after ?? '')
      return list.walk.fetch(request)
    },
  }
  const { objects } = await walkAll(listByParent(walk, parentsOf(['a']), null))
  expect(objects.toSorted()).toEqual(list.ids().toSorted())
})

it('returns no objects for a parent that was deleted', async () => {
  const list = listObjects(times(3))
  list.remove('cus_0')
  const gone: typeof list.walk.fetch = () =>
    list.walk.fetch({ params: { limit: 100, starting_after: 'cus_0' } })
  const { objects, cursors } = await walkAll(
    listByParent({ ...list.walk, fetch: gone }, parentsOf(['a']), null),
  )
  expect(objects).toEqual([])
  expect(cursors.at(-1)).toMatchObject({ done: true })
})
