import { inGroups } from '../shared/in-groups.ts'
import type { Db } from './connect.ts'
import { deleteInBatches } from './delete-in-batches.ts'
import { latest, type WalPosition } from './replica-condition.ts'

/** What a replica must have replayed so that a reader sees its own writes. */
export type WritePositions = {
  note: NoteWrites
  /** The latest position of these writers. Null: unknown, since writes of the last seconds may be missing. */
  find: (writers: readonly string[]) => Promise<Found | null>
}

/**
 * Notes that a writer, an API key, a user or a conference, has committed writes. Await it before anybody can know of
 * them. Calls that arrive together share a statement. It does not fail.
 */
export type NoteWrites = (writer: string) => Promise<void>

/** `position` null: the writers have written nothing. */
type Found = { position: WalPosition | null }

/** Its row says since when the table is complete. No writer has this name. */
const COMPLETE = ''

type Row = { writer: string; position: WalPosition; is_recent: boolean }

type Deps = {
  /** Of the primary. */
  db: Db
  /** The age from which every replica that is read contains a write. */
  rememberSeconds: number
  logger: { warn(details: object, message: string): void }
}

/** The positions of all processes, in a table of the primary. */
export function createWritePositions({ db, rememberSeconds, logger }: Deps): WritePositions {
  async function noteAll(writers: string[]): Promise<null[]> {
    // In one order, so that two statements do not wait for each other.
    const once = [...new Set(writers)].toSorted()
    await db.raw(
      `insert into write_positions (writer, position)
       select writer, pg_current_wal_insert_lsn() from unnest(?::text[]) as w (writer)
       on conflict (writer) do update
         set position = greatest(write_positions.position, excluded.position), noted_at = now()`,
      [once],
    )
    return writers.map(() => null)
  }

  async function findAll(readers: (readonly string[])[]): Promise<(Found | null)[]> {
    const writers = [...new Set([COMPLETE, ...readers.flat()])]
    const { rows } = await db.raw<{ rows: Row[] }>(
      `select writer, position::text, noted_at > now() - make_interval(secs => ?) as is_recent
       from write_positions where writer = any(?)`,
      [rememberSeconds, writers],
    )
    const complete = rows.find(({ writer }) => writer === COMPLETE)
    if (complete === undefined) await begin()
    if (complete === undefined || complete.is_recent) return readers.map(() => null)
    return readers.map((reader) => {
      const [first, ...rest] = rows.filter(({ writer }) => reader.includes(writer))
      if (first === undefined) return { position: null }
      return { position: latest([first.position, ...rest.map(({ position }) => position)]) }
    })
  }

  /** The table is new, or a crash or a promotion has emptied it. */
  async function begin(): Promise<void> {
    await db.raw(
      `insert into write_positions (writer, position) values (?, pg_current_wal_insert_lsn())
       on conflict (writer) do nothing`,
      [COMPLETE],
    )
  }

  const note = inGroups({ run: noteAll, inFlight: 2 })
  return {
    async note(writer) {
      try {
        await note(writer)
      } catch (err) {
        // The writes themselves are committed.
        logger.warn(
          { err },
          'cannot store the position of a write; for some seconds, a read from the replica may miss the write',
        )
      }
    },
    find: inGroups({ run: findAll, inFlight: 2 }),
  }
}

/** Deletes positions that every replica has replayed long ago. @returns their number. */
export function deleteOldPositions(db: Db): Promise<number> {
  return deleteInBatches(
    db,
    'write_positions',
    `writer <> '${COMPLETE}' and noted_at < now() - interval '1 day'`,
  )
}
