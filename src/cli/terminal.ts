import { createInterface } from 'node:readline'
import { styleText } from 'node:util'

/** One of the two streams that a command writes to. */
export type Output = {
  write(text: string): void
  readonly colours: boolean
  /** How wide a terminal is at this moment; absent where the stream is none. */
  readonly columns?: () => number
}

/** What a command sees of the world: standard output, standard error, standard input. */
export type Terminal = {
  out: Output
  err: Output
  /** The next line of standard input, without its end; null when there is none. */
  readLine(): Promise<string | null>
}

/** This process's own. Colours as Node judges the stream, which asks NO_COLOR and FORCE_COLOR. */
export function processTerminal(): Terminal {
  let lines: AsyncIterator<string> | undefined
  return {
    out: outputOf(process.stdout),
    err: outputOf(process.stderr),
    async readLine() {
      lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]()
      const line = await lines.next()
      return line.done === true ? null : line.value
    },
  }
}

function outputOf(stream: NodeJS.WriteStream): Output {
  // A pipe whose reader has seen enough (`| head`), a terminal that was closed: there is nobody left
  // to tell, and what runs must still be ended in order.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
  })
  return {
    write: (text) => void stream.write(text),
    // A pipe or a file has no such method, whatever its type says.
    colours: stream.isTTY && stream.hasColors(),
    ...(stream.isTTY ? { columns: () => stream.columns } : {}),
  }
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Colours text, or returns it as it is where colours are not wanted. */
export type Paint = Readonly<Record<Style, (text: string) => string>>

/** Whether to colour was decided for the stream; styleText must not judge it again. */
export function createPaint(colours: boolean): Paint {
  const style = (name: Style) => (text: string) =>
    colours ? styleText(name, text, { validateStream: false }) : text
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  }
}

/** Names and notes come from sponsors; what would move the cursor or forge a line does not reach it. */
export function plainText(text: string): string {
  // The control characters C0, DEL and C1, and the marks that reverse the direction of what follows.
  return text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, ' ')
}

/** Somebody pressed Ctrl-C, or the machine asks us to end. */
export class Interrupted extends Error {
  constructor() {
    super('Interrupted.')
    this.name = 'Interrupted'
  }
}

/**
 * The result of `work`, unless the signal comes first; then what follows is only cleaning up.
 *
 * @throws Interrupted
 */
export async function unlessInterrupted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let stop: (() => void) | undefined
  const interrupted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(new Interrupted())
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, interrupted])
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
    // It may still fail, for instance because its database is gone; nobody waits for it any more.
    work.catch(() => {})
  }
}

// One Ctrl-C arrives up to three times: from the terminal, and passed on by npm and tsx.
const ECHO_MS = 1_000

/**
 * Aborts at the first SIGINT, SIGTERM or SIGHUP. Another one after a while, from somebody who does
 * not want to wait, ends the process at once.
 */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController()
  let first: number | undefined
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      first ??= performance.now()
      if (performance.now() - first > ECHO_MS) process.exit(130)
      controller.abort(new Interrupted())
    })
  }
  return controller.signal
}
