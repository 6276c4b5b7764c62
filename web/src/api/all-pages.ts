type PageOf<T> = { data: T[]; next_cursor: string | null }

/** A list that people choose from is short: what is beyond is left out. */
const MAX_PAGES = 20

/** Every row of a short list, such as the ticket types of a conference. */
export async function allPages<T>(
  fetchPage: (cursor: string | undefined) => Promise<PageOf<T>>,
): Promise<T[]> {
  const rows: T[] = []
  let cursor: string | undefined
  for (let page = 0; page < MAX_PAGES; page += 1) {
    // One page after the other: each names the next.
    // oxlint-disable-next-line no-await-in-loop
    const { data, next_cursor: next } = await fetchPage(cursor)
    rows.push(...data)
    if (next === null) break
    cursor = next
  }
  return rows
}
