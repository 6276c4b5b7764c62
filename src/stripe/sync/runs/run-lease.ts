// A dead worker's job is free again after at most two thirds of LEASE_SECONDS (see heartbeat.ts). The
// run must be free by then too, so that somebody takes it within the whole.
const SHARE = 2 / 3

/** How long a process holds a run without a sign of life. Seconds, of LEASE_SECONDS. */
export function runLease(leaseSeconds: number): number {
  return leaseSeconds * SHARE
}
