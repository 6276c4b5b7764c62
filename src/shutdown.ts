import type { Logger } from './shared/logger.ts'

/**
 * What happens in which order when the process stops, and the part of the whole time at whose end
 * the next phase begins, whether this one ended or not. Time that a phase leaves is the next one's.
 */
const PHASES = [
  ['intake', 0.4],
  ['work', 0.8],
  ['pools', 0.9],
  ['database', 1],
] as const

export type ShutdownPhase = (typeof PHASES)[number][0]

/** The part of the whole time that work may take to end before it is given back to others. */
export const DRAIN_SHARE = 0.32

type Close = { name: string; close: () => Promise<unknown> }

export type Shutdown = {
  /** Says how something that has begun is ended, as soon as it has begun. */
  add(phase: ShutdownPhase, name: string, close: Close['close']): void
  /**
   * Ends everything, the things of a phase at the same time. What hangs does not keep later phases,
   * which give locks and connections back, from running. May be called again.
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
    logger.error({ part: name, err }, 'did not stop in order')
  } finally {
    clearTimeout(timer)
  }
  return false
}
