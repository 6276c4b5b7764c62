import { createInterface } from 'node:readline'
import { styleText } from 'node:util'

/** One of the two streams that a command writes to. */
export type Output = {
  write(text: string): void
  readonly colours: boolean
  /** The current width of the terminal; absent if the stream is not a terminal. */
  readonly columns?: () => number
}

/** Standard output, standard error and standard input of a command. */
export type Terminal = {
  out: Output
  err: Output
  /** The next line of standard input, without its line break; null at the end. */
  readLine(): Promise<string | null>
}

/** The streams of this process. Node decides about colours, also by NO_COLOR and FORCE_COLOR. */
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
  // The reader closed the pipe (`| head`) or the terminal is closed: the command still has to end its
  // work properly.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
  })
  return {
    write: (text) => void stream.write(text),
    // A pipe or a file has no such method, although its type says so.
    colours: stream.isTTY && stream.hasColors(),
    ...(stream.isTTY ? { columns: () => stream.columns } : {}),
  }
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Colours text, or returns it unchanged. */
export type Paint = Readonly<Record<Style, (text: string) => string>>

/** The caller decides about colours; styleText must not check the stream again. */
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

/** Replaces characters that could move the cursor or forge a line: sponsors choose names and notes. */
export function plainText(text: string): string {
  // The control characters C0, DEL and C1, and the marks that change the direction of the text.
  return text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, ' ')
}

/** The process received SIGINT, SIGTERM or SIGHUP. */
export class Interrupted extends Error {
  constructor() {
    super('Interrupted.')
    this.name = 'Interrupted'
  }
}

/**
 * The result of `work`.
 *
 * @throws Interrupted if the signal comes first; only clean-up follows then.
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
    // Abandoned work may still fail, for example because its database has stopped.
    work.catch(() => {})
  }
}

// One Ctrl-C arrives up to three times: from the terminal, and forwarded by npm and tsx.
const ECHO_MS = 1_000

/**
 * Aborts at the first SIGINT, SIGTERM or SIGHUP. A second one, more than a second later, ends the
 * process immediately.
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
