/**
 * The running jobs of a process by share (see `JobDefinition.share`), so that the slow jobs of one
 * conference do not take all workers.
 */
export type JobShares = {
  /** Counts a job. False when the share is used up; then the job must not run now. */
  begin(share: JobShare): boolean
  end(share: JobShare): void
  /** The names of the shares that are used up. Workers take none of their jobs. */
  usedUp(): string[]
}

/** At most `max` jobs with this name run in a process at the same time. */
export type JobShare = { name: string; max: number }

export function createJobShares(): JobShares {
  const running = new Map<string, JobShare & { count: number }>()
  return {
    begin({ name, max }) {
      const count = running.get(name)?.count ?? 0
      if (count >= max) return false
      running.set(name, { name, max, count: count + 1 })
      return true
    },
    end({ name }) {
      const share = running.get(name)
      if (share === undefined) return
      if (share.count === 1) running.delete(name)
      else share.count -= 1
    },
    usedUp: () =>
      [...running.values()].flatMap(({ name, max, count }) => (count < max ? [] : name)),
  }
}
