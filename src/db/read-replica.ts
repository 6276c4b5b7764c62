import type { Logger } from '../shared/logger.ts'
import type { ReadOutcome, ServiceMetrics } from '../shared/service-metrics.ts'
import type { Db } from './connect.ts'
import { isDatabaseUnavailable } from './pg-errors.ts'
import { isBefore, latest, StaleReplicaError, type WalPosition } from './replica-condition.ts'
import type { ReadDb } from './tenant-scope.ts'
import { createWritePositions, type NoteWrites } from './write-positions.ts'

/** Runs a read, and runs it again on the primary where the replica cannot answer. So it must not write. */
export type Read = <T>(work: (db: ReadDb) => Promise<T>) => Promise<T>

/** Reads from one database, in transactions that refuse to write. */
export const readFrom =
  (pool: Db): Read =>
  (work) =>
    work({ pool, replica: null })

/** The connections of one kind of reads. */
export type ReadPools = { primary: Db; replica: Db }

export type ReadReplica = {
  /**
   * A function for the reads of one request: they go to the replica if it shows the writes of these writers, and
   * everything else up to the maximum lag.
   */
  reader(writers: readonly string[], pools: ReadPools): Promise<Read>
  noteWrites: NoteWrites
  /** Compares the replica with the primary. Call it every `WATCH_MS`; until then the replica is not read. */
  watch(): Promise<void>
}

export const WATCH_MS = 1_000
/** If the last look at the primary is older than the maximum lag and this, the lag is unknown. */
const UNWATCHED_MS = 5_000

type ReadReplicaDeps = {
  /** Of the primary: for positions, of requests. */
  db: Db
  /** For `watch`, so that requests do not delay it. */
  watched: ReadPools
  maxLagSeconds: number
  logger: Logger
  metrics: Pick<ServiceMetrics, 'readRouted' | 'replicaWatched'>
}

type ReplicaState = 'unknown' | 'usable' | 'lagging' | 'unavailable'

/** How far the primary was at a time of this process. */
type Sample = { at: number; position: WalPosition }

type Watched = { position: WalPosition | null; is_replica: boolean; system: string }

const REPLICA_SQL = `select pg_last_wal_replay_lsn()::text as position, pg_is_in_recovery() as is_replica,
  (select system_identifier::text from pg_control_system()) as system`
const PRIMARY_SQL = `select pg_current_wal_flush_lsn()::text as position, false as is_replica,
  (select system_identifier::text from pg_control_system()) as system`

/**
 * Decides for each read whether a streaming replica may answer it (docs/decisions/0039). The lag is measured in
 * the write-ahead log: a replica is N seconds behind if it has not replayed what the primary had written N seconds
 * ago. So neither clocks nor a primary without writes matter.
 */
export function createReadReplica(deps: ReadReplicaDeps): ReadReplica {
  const { maxLagSeconds, logger, metrics } = deps
  const maxLagMs = maxLagSeconds * 1_000
  // Writes that are older than the maximum lag are on every replica that is read.
  const positions = createWritePositions({ db: deps.db, rememberSeconds: maxLagSeconds, logger })
  let state: ReplicaState = 'unknown'
  let system = ''
  let samples: Sample[] = []

  /** What the primary had written before the maximum lag. Null: unknown. */
  function oldestAllowed(): WalPosition | null {
    const now = performance.now()
    if (now - (samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY) > UNWATCHED_MS) return null
    const old = samples.findLast(({ at }) => now - at >= maxLagMs)
    return (old ?? samples[0])?.position ?? null
  }

  function addSample(at: number, { position, system: id }: Watched): void {
    // Another primary, for example after a restore, has other positions.
    if (id !== system) samples = []
    system = id
    if (position !== null) samples.push({ at, position })
    const needed = samples.findLastIndex((sample) => at - sample.at >= maxLagMs)
    samples.splice(0, Math.max(0, needed))
  }

  function enter(next: ReplicaState, details: object): void {
    if (next === state) return
    state = next
    if (next === 'usable') logger.info(details, 'the read replica is used')
    else
      logger.warn({ ...details, state: next }, 'reads go to the primary, not to the read replica')
  }

  /** Compares what the replica shows with the samples. */
  function judge({ position, is_replica: isReplica, system: id }: Watched): void {
    if (!isReplica || position === null || id !== system) {
      const reason = isReplica ? 'it belongs to another primary' : 'it is not a standby server'
      metrics.replicaWatched(null)
      enter('unavailable', { reason })
      return
    }
    const missing = samples.find((sample) => isBefore(position, sample.position))
    const lag = missing === undefined ? 0 : (performance.now() - missing.at) / 1_000
    metrics.replicaWatched(lag)
    const needed = oldestAllowed()
    const lags = needed === null || isBefore(position, needed)
    enter(lags ? 'lagging' : 'usable', {
      lag_seconds: Math.round(lag),
      max_lag_seconds: maxLagSeconds,
    })
  }

  function onPrimary<T>(
    outcome: ReadOutcome,
    { primary }: ReadPools,
    work: (db: ReadDb) => Promise<T>,
  ): Promise<T> {
    metrics.readRouted(outcome)
    return work({ pool: primary, replica: null })
  }

  function whyNotReplica(error: unknown, isOwnWrite: boolean): ReadOutcome {
    if (error instanceof StaleReplicaError) return isOwnWrite ? 'own_write' : 'lagging'
    if (!isDatabaseUnavailable(error)) return 'failed'
    // The next look at the replica ends it. Until then no read waits for a connection.
    enter('unavailable', { err: error })
    return 'unavailable'
  }

  return {
    async reader(writers, pools) {
      const allowed = oldestAllowed()
      const notUsed = state === 'lagging' ? 'lagging' : 'unavailable'
      if (state !== 'usable' || allowed === null) return (work) => onPrimary(notUsed, pools, work)
      const own = await positions.find(writers)
      if (own === null) return (work) => onPrimary('own_write', pools, work)
      const condition = { replayed: latest([allowed, own.position ?? allowed]), system }
      return async (work) => {
        if (state !== 'usable') return onPrimary(notUsed, pools, work)
        try {
          const result = await work({ pool: pools.replica, replica: condition })
          metrics.readRouted('replica')
          return result
        } catch (error) {
          // Also a refusal: what the replica does not have yet may exist.
          const outcome = whyNotReplica(error, condition.replayed !== allowed)
          if (outcome === 'failed') logger.debug({ err: error }, 'a read of the replica failed')
          return onPrimary(outcome, pools, work)
        }
      }
    },

    noteWrites: positions.note,

    async watch() {
      const { primary, replica } = deps.watched
      const at = performance.now()
      addSample(at, await lookAt(primary, PRIMARY_SQL))
      try {
        judge(await lookAt(replica, REPLICA_SQL))
      } catch (err) {
        metrics.replicaWatched(null)
        enter('unavailable', { err })
      }
    },
  }
}

async function lookAt(db: Db, sql: string): Promise<Watched> {
  // Drops a connection that hangs.
  const { rows } = await db.raw<{ rows: [Watched] }>(sql).timeout(UNWATCHED_MS)
  return rows[0]
}
