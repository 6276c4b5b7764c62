/** Moments in RFC 3339 between which something was created; both are excluded, as in the lists. */
export type CreatedRange = {
  created_after?: string | undefined
  created_before?: string | undefined
}

/**
 * A condition on `created_at`, to be used with `rangeBindings`. With `cast`, because knex reads
 * `:name::type` as the name of a column.
 */
export const CREATED_IN_RANGE = `created_at > coalesce(cast(:after as timestamptz), '-infinity')
  and created_at < coalesce(cast(:before as timestamptz), 'infinity')`

export function rangeBindings({ created_after: after, created_before: before }: CreatedRange) {
  return { after: after ?? null, before: before ?? null }
}

/** The day of `created_at` in UTC, as text. */
export const CREATED_DAY = `to_char(created_at at time zone 'utc', 'YYYY-MM-DD')`
