import type { Logger } from './shared/logger.ts'

/**
 * The phases of a stop in their order. The number is the fraction of the whole time at which the next
 * phase begins, even if this one has not ended. A phase may use the time that earlier ones left.
 */
const PHASES = [
  ['intake', 0.4],
  ['work', 0.8],
  ['pools', 0.9],
  ['database', 1],
] as const

export type ShutdownPhase = (typeof PHASES)[number][0]

/** The fraction of the whole time after which running work is released to other processes. */
export const DRAIN_SHARE = 0.32

type Close = { name: string; close: () => Promise<unknown> }

export type Shutdown = {
  /** Registers how to end something. Call it as soon as that thing has started. */
  add(phase: ShutdownPhase, name: string, close: Close['close']): void
  /**
   * Ends everything; the parts of one phase end in parallel. A part that hangs does not keep later
   * phases, which release locks and connections, from running. May be called again.
   *
   * @returns whether all of it ended in time and without an error.
   */
  run(): Promise<boolean>
}

export function createShutdown(wholeMs: number, logger: Logger): Shutdown {
  const closes: Record<ShutdownPhase, Close[]> = { intake: [], work: [], pools: [], database: [] }
  let running: Promise<boolean> | undefined

  async function run(): Promise<boolean> {
    const begun = performance.now()
    let clean = true
    for (const [phase, until] of PHASES) {
      const left = Math.max(0, wholeMs * until - (performance.now() - begun))
      const ended = await Promise.all(closes[phase].map((each) => endWithin(left, each, logger)))
      clean &&= ended.every(Boolean)
    }
    return clean
  }

  return {
    add(phase, name, close) {
      closes[phase].push({ name, close })
    },
    run() {
      running ??= run()
      return running
    },
  }
}

async function endWithin(ms: number, { name, close }: Close, logger: Logger): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, ms, 'late')
  })
  try {
    const outcome = await Promise.race([close(), late])
    if (outcome !== 'late') return outcome !== false
    logger.error({ part: name }, 'did not stop in time')
  } catch (err) {
    logger.error({ part: name, err }, 'failed to stop')
  } finally {
    clearTimeout(timer)
  }
  return false
}
