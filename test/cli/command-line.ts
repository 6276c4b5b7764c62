import { afterEach, beforeEach, vi } from 'vitest'
import { runCli } from '../../src/cli/program.ts'
import { loadConfig } from '../../src/config.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import { OPERATOR_KEY, TEST_ENCRYPTION_KEY } from '../support/test-app.ts'
import { databaseSettings } from '../support/test-connections.ts'

export type Ran = { exitCode: number; stdout: string; stderr: string }

export type RunOptions = {
  stdin?: readonly string[]
  env?: NodeJS.ProcessEnv
  signal?: AbortSignal
}

/** Settings under which a command works on this database as the test app does. */
export function settingsFor(connectionString: string): Record<string, string> {
  return {
    ...databaseSettings(connectionString),
    ENCRYPTION_KEY: TEST_ENCRYPTION_KEY.toString('base64'),
    OPERATOR_API_KEY: OPERATOR_KEY,
    // Nothing listens there: no test asks Stripe itself.
    STRIPE_API_BASE: 'http://127.0.0.1:1',
  }
}

/** Runs command lines in this process, as sponsor-vouchers.ts would. Each reads `settings` again. */
export function useCommandLine(
  database: { readonly connectionString: string },
  settings: NodeJS.ProcessEnv = {},
) {
  beforeEach(() => {
    // A developer's own must not reach a test.
    vi.stubEnv('STRIPE_SECRET_KEY', '')
    vi.stubEnv('STRIPE_WEBHOOK_SECRET', '')
  })
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  async function run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const { stdin = [], env, signal = new AbortController().signal } = options
    const written = { out: '', err: '' }
    const lines = [...stdin]
    const exitCode = await runCli(args, {
      terminal: {
        out: { colours: false, write: (text) => void (written.out += text) },
        err: { colours: false, write: (text) => void (written.err += text) },
        readLine: async () => lines.shift() ?? null,
      },
      loadConfig: (use) =>
        loadConfig({ ...settingsFor(database.connectionString), ...settings, ...env }, use),
      signal,
    })
    return { exitCode, stdout: written.out, stderr: written.err }
  }

  return {
    run,
    /** The parsed answer of a command that must succeed. */
    async json<T>(args: readonly string[], options?: RunOptions): Promise<T> {
      const { exitCode, stdout, stderr } = await run([...args, '--json'], options)
      if (exitCode !== 0) throw new Error(`${args.join(' ')} ended with ${exitCode}: ${stderr}`)
      // The caller says what it expects; its assertions would fail on anything else.
      return JSON.parse(stdout) as T
    },
  }
}

/** The command line beside an app on the same database and the same fake Stripe. */
export function useCliOnStripe(settings?: NodeJS.ProcessEnv) {
  const { app, stripe, env } = useAppOnStripe(settings)
  return { app, stripe, env, cli: useCommandLine(app, env) }
}
