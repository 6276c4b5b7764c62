import closeWithGrace from 'close-with-grace'
import { type Config, ConfigError, loadConfig } from './config.ts'
import { EmbeddedPostgresError } from './db/embedded/embedded-postgres-error.ts'
import { StartupError } from './shared/errors.ts'
import { createLogger, type Logger } from './shared/logger.ts'
import { startService } from './start-service.ts'

// After the time for an orderly stop, for what even that could not end.
const FORCED_EXIT_MS = 2_000

/** Errors that say all there is to say; a stack would only hide it. */
function isExpected(error: unknown): error is Error {
  if (error instanceof ConfigError || error instanceof StartupError) return true
  if (error instanceof EmbeddedPostgresError) return true
  return error instanceof Error && 'syscall' in error && error.syscall === 'listen'
}

function reportStartError(error: unknown, logger: Logger | null): void {
  if (isExpected(error) || logger === null) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  } else logger.fatal({ err: error }, 'the service could not start')
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
const logger = createLogger(config.logLevel)
const starting = startService(config, logger)

// From here on, also while it starts: SIGTERM, SIGINT and errors that nobody caught end the process
// in order, and a second signal ends it at once. Exit code 0 only when everything ended in time.
closeWithGrace(
  {
    delay: config.shutdownSeconds * 1000 + FORCED_EXIT_MS,
    logger: { error: (error: unknown) => logger.error({ err: error }, 'stopped without order') },
    onSecondSignal: (signal) => logger.error({ signal }, 'second signal: exiting at once'),
  },
  async ({ signal, err }) => {
    if (err === undefined) logger.info({ signal }, 'stopping')
    else logger.fatal({ err }, 'an error that nobody caught: stopping')
    // One that failed to start has cleaned up behind itself.
    const service = await starting.catch(() => null)
    const clean = service === null || (await service.stop())
    if (!clean) throw new Error('Some work was cut off; it will be taken over.')
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
