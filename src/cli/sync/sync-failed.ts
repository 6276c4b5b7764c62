/** Not every resource was synced; what became of each is in the answer. */
export class SyncFailed extends Error {
  constructor(failed: readonly string[], all: number) {
    super(`${failed.length} of ${all} syncs did not succeed: ${failed.join(', ')}.`)
    this.name = 'SyncFailed'
  }
}
