/**
 * SQL for views over embedded lists. Each takes a jsonb expression and gives null, never an error,
 * for what has another shape: one odd object must not make the whole view unreadable.
 */

/** The entries of an embedded list, such as `mirror.data -> 'lines'`, as a set of jsonb. */
export const entriesOf = (list: string) =>
  `jsonb_array_elements(
    case jsonb_typeof(${list} -> 'data') when 'array' then ${list} -> 'data' else '[]' end)`

/** The id of a field that holds an id or the object itself. */
export const idIn = (field: string) =>
  `case jsonb_typeof(${field}) when 'object' then ${field} ->> 'id' else ${field} #>> '{}' end`

const ifTyped = (type: string, field: string, sql: string) =>
  `case jsonb_typeof(${field}) when '${type}' then ${sql} end`

/** A whole number: an amount in minor units, or a count. */
export const wholeIn = (field: string) =>
  ifTyped('number', field, `trunc((${field})::numeric)::bigint`)

/** A time, from seconds since 1970, UTC. */
export const timeIn = (field: string) =>
  ifTyped('number', field, `to_timestamp((${field})::double precision)`)

export const booleanIn = (field: string) => ifTyped('boolean', field, `(${field})::boolean`)
