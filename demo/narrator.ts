import { isDeepStrictEqual } from 'node:util'
import { createPaint, type Output, plainText } from '../src/cli/terminal.ts'

export type RequestLine = {
  direction: '→' | '←'
  what: string
  status: number
  /** Null: not measured. */
  ms: number | null
}

/** Prints the steps of the demo as they happen. */
export type Narrator = {
  title(text: string, remark: string): void
  /** A started part: its name, its address, how long the start took. */
  started(name: string, where: string, ms: number): void
  chapter(title: string): void
  /** A request that was sent (→) or received (←). */
  request(line: RequestLine): void
  note(text: string): void
  /** Every step had the expected result. */
  end(ms: number): void
  /**
   * Prints a value that must equal the expected one.
   *
   * @throws Mismatch if it does not, after printing both.
   */
  check<T>(what: string, actual: T, expected: T, shown?: string): void
}

const NAME_WIDTH = 14
const REQUEST_WIDTH = 62
const CHECK_WIDTH = 34

/** Prints to `out`. The marks show the results also without colours. */
export function createNarrator(out: Output): Narrator {
  const paint = createPaint(out.colours)
  const ok = paint.green('✔')
  let chapters = 0
  return {
    title: (text, remark) => out.write(`\n  ${paint.bold(text)}  ${paint.dim(remark)}\n\n`),
    started(name, where, ms) {
      const seconds = `${(ms / 1000).toFixed(1)} s`
      out.write(`  ${ok} ${name.padEnd(NAME_WIDTH)}${where}  ${paint.dim(seconds)}\n`)
    },
    chapter(title) {
      chapters += 1
      out.write(`\n  ${paint.cyan(String(chapters))}  ${paint.bold(title)}\n`)
    },
    request({ direction, what, status, ms }) {
      const tail = ms === null ? '' : `  ${Math.round(ms)} ms`
      const line = `${direction} ${plainText(what)}`.padEnd(REQUEST_WIDTH)
      out.write(`     ${paint.dim(`${line}${status}${tail}`)}\n`)
    },
    note: (text) => out.write(`       ${text}\n`),
    end(ms) {
      const time = paint.dim(`${(ms / 1000).toFixed(1)} s`)
      out.write(`\n  ${ok} ${paint.bold('Every step had the expected result.')}  ${time}\n\n`)
    },
    check(what, actual, expected, shown = asText(actual)) {
      if (isDeepStrictEqual(actual, expected)) {
        out.write(`     ${ok} ${what.padEnd(CHECK_WIDTH)}${paint.bold(plainText(shown))}\n`)
        return
      }
      out.write(`     ${paint.red('✘')} ${what}\n`)
      out.write(`         expected  ${paint.green(asText(expected))}\n`)
      out.write(`         got       ${paint.red(asText(actual))}\n`)
      throw new Mismatch(what, expected, actual)
    },
  }
}

/** A step of the demo had an unexpected result. */
export class Mismatch extends Error {
  constructor(what: string, expected: unknown, actual: unknown) {
    super(`${what}: expected ${asText(expected)}, got ${asText(actual)}`)
    this.name = 'Mismatch'
  }
}

/** A value as the demo prints it: strings unchanged, other values as JSON. */
function asText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
}

/** `bp_V1StGXR8Z5jdHi6BmyT7a` as `bp_V1StGX…`: enough to recognise an id within the story. */
export function shortIds(text: string): string {
  return text.replace(/\b(bp|red|cs_test)_(\w{6})\w+/g, '$1_$2…')
}
