import type { ListPage, ListParams } from './stripe-resource.ts'

const PAGE = 100

/**
 * All entries of a list that Stripe embeds in an object and cuts off, from its first page on: the
 * embedded part is not always the beginning of the list.
 *
 * @see https://docs.stripe.com/api/pagination
 */
export async function readWholeList<Entry extends { id: string }>(
  page: (params: Omit<ListParams, 'created'>) => PromiseLike<ListPage<Entry>>,
): Promise<Entry[]> {
  const entries: Entry[] = []
  for (;;) {
    const last = entries.at(-1)
    const after = last === undefined ? {} : { starting_after: last.id }
    const { data, has_more } = await page({ limit: PAGE, ...after })
    entries.push(...data)
    if (!has_more || data.length === 0) return entries
  }
}
