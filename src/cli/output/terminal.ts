import { createInterface } from 'node:readline'

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
