import { spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLogger, standardOutput } from '../../src/shared/logger.ts'

const folder = mkdtempSync(join(tmpdir(), 'sponsor-vouchers-logger-'))
const opened: number[] = []
const open = (path: string, flags: string | number) => {
  const fd = openSync(path, flags)
  opened.push(fd)
  return fd
}
afterAll(() => {
  for (const fd of opened) closeSync(fd)
  rmSync(folder, { recursive: true })
})

describe.skipIf(process.platform !== 'linux')('the log of the service', () => {
  const pipe = join(folder, 'pipe')
  beforeAll(() => {
    if (spawnSync('mkfifo', [pipe]).status !== 0) throw new Error('mkfifo failed')
  })

  it('does not hold up the service, or its end, when its reader has died', () => {
    const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
    const output = standardOutput(open(pipe, 'w'))
    const logger = createLogger('info', output)
    closeSync(reader)
    logger.info('nobody reads this')
    // Its line is written at once. pino's own destination would never return.
    logger.fatal('uncaught error')
    // What the end of the process calls.
    output.flushSync()

    const again = open(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
    logger.fatal('read again')
    const read = Buffer.alloc(1_000)
    const text = read.toString('utf8', 0, readSync(again, read))
    expect(text).toMatch(/^\{[^\n]*"msg":"read again"\}\n$/)
  })

  it('does not wait for ever for a reader that does not read', () => {
    const reader = open(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
    const logger = createLogger(
      'info',
      standardOutput(open(pipe, constants.O_WRONLY | constants.O_NONBLOCK)),
    )
    for (let line = 0; line < 2_000; line += 1) logger.info({ line }, 'more than a pipe holds')
    const first = Buffer.alloc(1_000_000)
    const held = readSync(reader, first)
    logger.fatal('read again')
    const text = first.toString('utf8', 0, held + readSync(reader, first, held, 10_000, null))
    const lines = text.trimEnd().split('\n')
    expect(lines.at(-1)).toMatch(/^\{.*"msg":"read again"\}$/)
    // One line may be torn, none is joined to another.
    expect(lines.filter((line) => !/^\{.*\}$/.test(line)).length).toBeLessThanOrEqual(1)
  })

  it('loses lines when the disk is full, and nothing else happens', () => {
    const logger = createLogger('info', standardOutput(open('/dev/full', 'w')))
    const logMuch = () => {
      for (let line = 0; line < 300; line += 1) logger.info({ line }, 'too much for this disk')
      logger.fatal('the last one')
    }
    expect(logMuch).not.toThrow()
  })

  it('has every line once and whole, in order, also of a turn that logs much', async () => {
    const path = join(folder, 'log')
    const logger = createLogger('info', standardOutput(open(path, 'w')))
    const count = 2_000
    for (let line = 0; line < count; line += 1) logger.info({ line }, 'a line with an ö')
    await new Promise(setImmediate)
    await new Promise(setImmediate)
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
    expect(lines.map((text) => (JSON.parse(text) as { line: number }).line)).toEqual(
      Array.from({ length: count }, (_, line) => line),
    )
  })
})
