#!/usr/bin/env node
import { loadConfig } from '../config.ts'
import { runCli } from './program.ts'
import { interruptSignal, processTerminal } from './terminal.ts'

const signal = interruptSignal()

// The exit code is set and not forced, so that what was written reaches a pipe in full.
process.exitCode = await runCli(process.argv.slice(2), {
  terminal: processTerminal(),
  loadConfig: (use) => loadConfig(undefined, use),
  signal,
})
// Work that was given up may still wait for Stripe; nobody waits for it.
if (signal.aborted) process.exit()
