import type { StripeAccountPort } from '../conferences/manage-conference.ts'
import type { Config, ConfigUse } from '../config.ts'
import { connect, type Db } from '../db/connect.ts'
import { migrateToLatest } from '../db/migrate.ts'
import { openDatabase } from '../db/open-database.ts'
import { schemaServesUs } from '../db/schema-version.ts'
import { loadSecrets } from '../development-secrets.ts'
import { EVENT_HOOKS } from '../event-hooks.ts'
import {
  type BulkPurchaseService,
  createBulkPurchaseService,
} from '../purchases/bulk-purchase-service.ts'
import type { PaymentGateway } from '../purchases/payment-gateway.ts'
import { systemClock } from '../shared/clock.ts'
import { createEncryption, type Encryption } from '../shared/encryption.ts'
import { createLogger, type Logger } from '../shared/logger.ts'
import { noMetrics, type ServiceMetrics } from '../shared/service-metrics.ts'
import { StartRefused } from '../shared/start-refused.ts'
import { createStripeAccounts } from '../stripe/account.ts'
import { createStripeClients, type StripeClients } from '../stripe/client.ts'
import { createPaymentGateway } from '../stripe/payment-gateway.ts'
import { createMirrorFeed } from '../stripe/sync/feed/mirror-feed.ts'
import type { Cli } from './cli.ts'
import { unlessInterrupted } from './interrupted.ts'

/** The parts of the service that a command works with. */
export type Session = {
  config: Config
  db: Db
  encryption: Encryption
  stripeAccounts: StripeAccountPort
  clients: StripeClients
  gateway: PaymentGateway
  purchases: BulkPurchaseService
  logger: Logger
  metrics: ServiceMetrics
  eventHooks: typeof EVENT_HOOKS
}

/** Runs `work` on the database that the settings name, and gives the embedded one up afterwards. */
export async function withDatabase<T>(
  cli: Cli,
  work: (connectionString: string, config: Config, logger: Logger) => Promise<T>,
  use: ConfigUse = 'service',
): Promise<T> {
  const config = cli.loadConfig(use)
  // A command answers; what it has to say of its work is in its answer or its error.
  const logger = createLogger('silent')
  const database = await openDatabase(config, logger)
  try {
    return await unlessInterrupted(cli.signal, work(database.connectionString, config, logger))
  } finally {
    await database.stop()
  }
}

/**
 * Runs `work` with what the service itself is made of, on a schema that fits.
 *
 * @throws StartRefused for a schema of another release.
 */
export function withSession<T>(cli: Cli, work: (session: Session) => Promise<T>): Promise<T> {
  return withDatabase(cli, async (connectionString, config, logger) => {
    const db = connect(connectionString, { max: 4, applicationName: 'sponsor-vouchers cli' })
    try {
      await prepareSchema(connectionString, db, config)
      return await work(await openSession(db, config, logger))
    } finally {
      await db.destroy()
    }
  })
}

async function prepareSchema(connectionString: string, db: Db, config: Config): Promise<void> {
  if (await schemaServesUs(db)) return
  if (config.migrateOnStart) await migrateToLatest(connectionString)
  if (config.migrateOnStart && (await schemaServesUs(db))) return
  throw new StartRefused(
    'The schema of the database is not that of this release. An older one is brought up to date by `migrate`.',
  )
}

async function openSession(db: Db, config: Config, logger: Logger): Promise<Session> {
  const { encryptionKey } = await loadSecrets(config, logger)
  const encryption = createEncryption(encryptionKey)
  const metrics = noMetrics
  const clients = createStripeClients({ db, encryption, config, metrics, logger })
  const gateway = createPaymentGateway(clients, logger, createMirrorFeed({ db, clients, logger }))
  return {
    config,
    db,
    encryption,
    stripeAccounts: createStripeAccounts({ config, metrics }),
    clients,
    gateway,
    purchases: createBulkPurchaseService({ db, gateway, clock: systemClock }),
    logger,
    metrics,
    eventHooks: EVENT_HOOKS,
  }
}
