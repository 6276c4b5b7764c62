import { resolve } from 'node:path'
import type { Config } from '../config.ts'
import type { Logger } from '../shared/logger.ts'
import { startEmbeddedPostgres } from './embedded/start-embedded-postgres.ts'

export type OpenDatabase = {
  connectionString: string
  embedded: boolean
  /** Gives the embedded server up, of which the last user stops it; nothing for another server. */
  stop(): Promise<void>
}

/**
 * The database that the settings name: a server of the operator's, to which nothing is sent yet, or
 * the embedded one in the data folder, which is running when this returns.
 *
 * @throws EmbeddedPostgresError whose message says what to do.
 */
export async function openDatabase(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  logger: Pick<Logger, 'info'>,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== null) {
    return { connectionString: config.databaseUrl, embedded: false, stop: async () => {} }
  }
  const folder = resolve(config.dataDir, 'postgres')
  const server = await startEmbeddedPostgres({
    folder,
    log: (message) => logger.info({ from: 'embedded database' }, message),
  })
  logger.info({ folder, reused: server.reused }, 'embedded database runs')
  return {
    connectionString: server.connectionString,
    embedded: true,
    stop: () => server.stop(),
  }
}
