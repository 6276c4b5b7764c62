import closeWithGrace from 'close-with-grace'
import { type Config, ConfigError, loadConfig } from './config.ts'
import { EmbeddedPostgresError } from './db/embedded/embedded-postgres-error.ts'
import { StartupError } from './shared/errors.ts'
import { createLogger, type Logger, standardOutput } from './shared/logger.ts'
import { startService } from './start-service.ts'

// Added to the time for an orderly stop. Then the process exits even if something still runs.
const FORCED_EXIT_MS = 2_000

/** Errors whose message is complete without a stack. */
function isExpected(error: unknown): error is Error {
  if (error instanceof ConfigError || error instanceof StartupError) return true
  return error instanceof EmbeddedPostgresError
}

function reportStartError(error: unknown, logger: Logger | null): void {
  if (isExpected(error) || logger === null) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  } else logger.fatal({ err: error }, 'the service cannot start')
}

function readConfig(): Config {
  try {
    return loadConfig()
  } catch (error) {
    reportStartError(error, null)
    process.exit(1)
  }
}

const config = readConfig()
const logger = createLogger(config.logLevel, standardOutput())
const starting = startService(config, logger)

// From here on, also during the start: SIGTERM, SIGINT and uncaught errors end the process in order. A
// second signal ends it immediately. The exit code is 0 only if everything ended in time.
closeWithGrace(
  {
    delay: (config.drainSeconds + config.shutdownSeconds) * 1000 + FORCED_EXIT_MS,
    logger: { error: (error: unknown) => logger.error({ err: error }, 'the orderly stop failed') },
    onSecondSignal: (signal) => logger.error({ signal }, 'second signal: exiting immediately'),
  },
  async ({ signal, err }) => {
    if (err === undefined) logger.info({ signal }, 'stopping')
    else logger.fatal({ err }, 'uncaught error: stopping')
    // A start that failed has already cleaned up.
    const service = await starting.catch(() => null)
    const drain = err === undefined
    const clean = service === null || (await service.stop({ drain }))
    if (!clean) throw new Error('Some work was interrupted; another process will continue it.')
    logger.info('stopped')
  },
)

try {
  const service = await starting
  await service.ready.catch(async (error: unknown) => {
    await service.stop()
    throw error
  })
} catch (error) {
  reportStartError(error, logger)
  process.exit(1)
}
