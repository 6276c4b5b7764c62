#!/usr/bin/env node
import { loadConfig } from '../config.ts'
import { runCli } from './program.ts'
import { interruptSignal, processTerminal } from './terminal.ts'

const signal = interruptSignal()

// Sets the exit code instead of calling process.exit(), so that a pipe receives the whole output.
process.exitCode = await runCli(process.argv.slice(2), {
  terminal: processTerminal(),
  loadConfig: (use) => loadConfig(undefined, use),
  signal,
})
// Abandoned work may still wait for an answer of Stripe.
if (signal.aborted) process.exit()
