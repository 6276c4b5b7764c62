import { z } from 'zod'

/**
 * A part of a listing that is still to be read. `variant`: which of the resource's lists; `gte` and
 * `lt`: the bounds of `created`, in seconds; `after`: the last id that was stored; `oldest`: its
 * `created`.
 */
const window = z.object({
  variant: z.int(),
  gte: z.int().nullable(),
  lt: z.int().nullable(),
  after: z.string().nullable(),
  oldest: z.int().nullable(),
})

export type Window = z.infer<typeof window>

/**
 * Where a run stands. `windows`: what of the listing is left; none when it is complete. `parent`: the
 * last parent whose list was read, where there is one list for each. `ids`: how many of the run's own
 * ids are done.
 */
const cursor = z.discriminatedUnion('by', [
  z.object({ by: z.literal('windows'), windows: z.array(window) }),
  z.object({
    by: z.literal('parents'),
    done: z.boolean(),
    parent: z.string().nullable(),
  }),
  z.object({ by: z.literal('ids'), done: z.int() }),
])

export type RunCursor = z.infer<typeof cursor>

/** The cursor that a run has stored, or null when there is none that this release understands. */
export function readCursor(stored: unknown): RunCursor | null {
  return cursor.safeParse(stored).data ?? null
}
