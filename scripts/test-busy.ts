// `npm run test:busy -- [runs] [vitest arguments]`: runs the test suite several times (default 10)
// while two processes use up a processor each. Prints one line for each run; exits with 1 when a run
// failed. The output of a failed run is kept in a file.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'

const BURNERS = 2

// A burner ends itself when this process has ended, also after a kill.
const BURN = `const parent = process.ppid
for (;;) {
  const until = performance.now() + 1_000
  while (performance.now() < until);
  if (process.ppid !== parent) process.exit()
}`

type Run = { isPassed: boolean; seconds: number; output: string }

const say = (line: string) => process.stdout.write(`${line}\n`)

const vitest = join(
  dirname(createRequire(import.meta.url).resolve('vitest/package.json')),
  'vitest.mjs',
)

async function runSuite(args: string[]): Promise<Run> {
  const started = performance.now()
  const suite = spawn(process.execPath, [vitest, 'run', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const parts: string[] = []
  for (const stream of [suite.stdout, suite.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => void parts.push(text))
  }
  const [code] = await once(suite, 'close')
  return {
    isPassed: code === 0,
    seconds: Math.round((performance.now() - started) / 1_000),
    output: stripVTControlCharacters(parts.join('')),
  }
}

/** `199 files, 2442 tests passed`, as Vitest counted them. */
function summaryOf(output: string): string {
  const [files, tests] = ['Test Files', 'Tests'].map(
    (name) => new RegExp(`^ *${name} +(.+)$`, 'm').exec(output)?.[1] ?? 'none',
  )
  return `files: ${files}; tests: ${tests}`
}

async function runAll(runs: number, args: string[]): Promise<number> {
  let failed = 0
  for (let run = 1; run <= runs; run += 1) {
    const { isPassed, seconds, output } = await runSuite(args)
    say(`run ${run}: ${isPassed ? 'passed' : 'FAILED'} in ${seconds} s (${summaryOf(output)})`)
    if (isPassed) continue
    failed += 1
    const file = join(tmpdir(), `sponsor-vouchers-test-busy-${process.pid}-${run}.log`)
    await writeFile(file, output)
    for (const line of output.match(/^ FAIL .+$/gm) ?? []) say(line)
    say(`  output: ${file}`)
  }
  return failed
}

const [first = '', ...rest] = process.argv.slice(2)
const isNumber = /^\d+$/.test(first)
const runs = isNumber ? Number(first) : 10
const args = isNumber || first === '' ? rest : [first, ...rest]

const burners: ChildProcess[] = Array.from({ length: BURNERS }, () =>
  spawn(process.execPath, ['-e', BURN], { stdio: 'ignore' }),
)
process.once('exit', () => {
  for (const burner of burners) burner.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

say(`${runs} ${runs === 1 ? 'run' : 'runs'} beside ${BURNERS} processes that use the CPU`)
const failed = await runAll(runs, args)
say(`${runs - failed} of ${runs} runs passed`)
process.exit(failed === 0 ? 0 : 1)
