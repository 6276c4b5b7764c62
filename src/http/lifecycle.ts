/**
 * `starting`: the database is not checked yet, and until then nobody is answered from it.
 * `stopping`: what runs may end, and nothing new begins.
 */
export type Phase = 'starting' | 'serving' | 'stopping'

/** Where the process stands; main.ts moves it, requests and /readyz look at it. */
export type Lifecycle = {
  readonly phase: Phase
  /** Opens the door, unless the process is stopping already. */
  serve(): void
  stop(): void
}

export function createLifecycle(phase: Phase = 'starting'): Lifecycle {
  let now = phase
  return {
    get phase() {
      return now
    },
    serve() {
      if (now === 'starting') now = 'serving'
    },
    stop() {
      now = 'stopping'
    },
  }
}
