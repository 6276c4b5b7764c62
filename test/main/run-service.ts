import { afterEach } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { type Service, startService } from '../../src/start-service.ts'
import { OPERATOR_KEY, TEST_ENCRYPTION_KEY } from '../support/test-app.ts'
import { databaseSettings } from '../support/test-connections.ts'

export type LogLine = { msg: string } & Record<string, unknown>

export type RunningService = Service & {
  /** The log so far, at level debug and above. */
  log: LogLine[]
  get(path: string, key?: string): Promise<{ status: number; body: Record<string, unknown> }>
}

/** Starts the service inside the test, as main.ts does; it stops after the test. */
export function useServices(): (env: NodeJS.ProcessEnv) => Promise<RunningService> {
  const running: Service[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((service) => service.stop()))
  })
  return async (env) => {
    const log: LogLine[] = []
    const logger = createLogger('debug', {
      write: (line) => void log.push(JSON.parse(line) as LogLine),
    })
    const service = await startService(configOf(env), logger)
    running.push(service)
    // Tests of a failed start await it themselves. Others must not cause an unhandled rejection.
    service.ready.catch(() => {})
    return {
      ...service,
      log,
      async get(path, key = OPERATOR_KEY) {
        const headers = { authorization: `Bearer ${key}` }
        const response = await fetch(`${service.address}${path}`, { headers })
        const body = (await response.json()) as Record<string, unknown>
        return { status: response.status, body }
      },
    }
  }
}

function configOf(env: NodeJS.ProcessEnv) {
  return loadConfig({
    PORT: '0',
    OPERATOR_API_KEY: OPERATOR_KEY,
    ENCRYPTION_KEY: TEST_ENCRYPTION_KEY.toString('base64'),
    STRIPE_API_BASE: 'http://127.0.0.1:9',
    PUBLIC_URL: 'https://vouchers.example.org',
    SHUTDOWN_SECONDS: '10',
    ...env,
    ...(env['DATABASE_URL'] ? databaseSettings(env['DATABASE_URL']) : {}),
  })
}
