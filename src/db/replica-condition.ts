import type pg from 'pg'
import { PREPARED } from './pipeline.ts'

/** A position in the write-ahead log, as Postgres prints it: two hexadecimal numbers, `16/B374D848`. */
export type WalPosition = string

/** Whether the log reaches `other` only after this position. */
export const isBefore = (position: WalPosition, other: WalPosition): boolean =>
  toNumber(position) < toNumber(other)

/** The latest of some positions, at least one. */
export const latest = (positions: readonly [WalPosition, ...WalPosition[]]): WalPosition =>
  positions.reduce((last, each) => (isBefore(last, each) ? each : last))

function toNumber(position: WalPosition): bigint {
  const [high = '0', low = '0'] = position.split('/')
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}

/** What a replica must show before it is read. */
export type ReplicaCondition = {
  /** The replica has replayed the write-ahead log up to here. */
  replayed: WalPosition
  /** The system identifier of the primary, which its replicas share. */
  system: string
}

/** The replica does not show all that the reader must see, or it is none of this primary. */
export class StaleReplicaError extends Error {
  override name = 'StaleReplicaError'
}

/**
 * Runs in the transaction that reads: behind one address, there may be several replicas.
 *
 * @throws StaleReplicaError
 */
export async function checkReplica(
  connection: pg.Client,
  { replayed, system }: ReplicaCondition,
): Promise<void> {
  const { rows } = await connection.query<{ usable: boolean | null }>({
    text: `select pg_is_in_recovery() and pg_last_wal_replay_lsn() >= $1::pg_lsn
        and (select system_identifier = $2::bigint from pg_control_system()) as usable`,
    values: [replayed, system],
    ...PREPARED,
  })
  if (rows[0]?.usable !== true) throw new StaleReplicaError('The replica lacks recent writes')
}
