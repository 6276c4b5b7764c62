import { createSavedCards } from '../billing/customers/saved-cards.ts'
import {
  type ConferenceRow,
  findConferenceId,
  listConferences,
} from '../conferences/conference-store.ts'
import type { StripeAccountPort } from '../conferences/manage-conference.ts'
import type { Config, ConfigUse } from '../config.ts'
import { connect, type Db, type Tx } from '../db/connect.ts'
import { isSchemaCompatible, migrateToLatest } from '../db/migrations.ts'
import { openDatabase } from '../db/open-database.ts'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import { loadSecrets } from '../development-secrets.ts'
import { EVENT_HOOKS } from '../event-hooks.ts'
import { createMirrorFeed } from '../mirror/mirror-feed.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import {
  type BulkPurchaseService,
  createBulkPurchaseService,
} from '../purchases/bulk-purchase-service.ts'
import type { Actor, Caller, Principal } from '../shared/caller.ts'
import { createEncryption, type Encryption } from '../shared/cryptography.ts'
import { AppError, notFound, StartupError } from '../shared/errors.ts'
import { createLogger, type Logger } from '../shared/logger.ts'
import { noMetrics, type ServiceMetrics } from '../shared/service-metrics.ts'
import { systemClock } from '../shared/time.ts'
import { createStripeAccounts } from '../stripe/stripe-account.ts'
import { createStripeClients, type StripeClients } from '../stripe/stripe-client.ts'
import { createStripePaymentGateway } from '../stripe/stripe-payment-gateway.ts'
import { UsageError } from './cli-errors.ts'
import type { Cli } from './command.ts'
import { unlessInterrupted } from './terminal.ts'

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
  if (await isSchemaCompatible(db)) return
  if (config.migrateOnStart) await migrateToLatest(connectionString)
  if (config.migrateOnStart && (await isSchemaCompatible(db))) return
  throw new StartupError(
    'The schema of the database is not that of this release. An older one is brought up to date by `migrate`.',
  )
}

async function openSession(db: Db, config: Config, logger: Logger): Promise<Session> {
  const { encryptionKey } = await loadSecrets(config, logger)
  const encryption = createEncryption(encryptionKey)
  const metrics = noMetrics
  const clients = createStripeClients({ db, encryption, config, metrics, logger })
  const gateway = createStripePaymentGateway(
    clients,
    logger,
    createMirrorFeed({ db, clients, logger }),
  )
  return {
    config,
    db,
    encryption,
    stripeAccounts: createStripeAccounts({ config, metrics }),
    clients,
    gateway,
    purchases: createBulkPurchaseService({
      db,
      gateway,
      cards: createSavedCards({ db, clients, logger }),
      clock: systemClock,
    }),
    logger,
    metrics,
    eventHooks: EVENT_HOOKS,
  }
}

// Whoever can run a command holds the database's password, so it acts as the platform itself.
const ACTOR_ID = 'cli'

/** Who the history names for what a command did. */
export const CLI_ACTOR: Actor = { kind: 'operator', id: ACTOR_ID }

/** The same, where keys are handed out. */
export const CLI_PRINCIPAL: Principal = { role: 'operator', keyId: ACTOR_ID }

/** The conference behind a slug or an id, as its operator. @throws AppError `not_found` */
export async function findConference(db: Db, reference: string): Promise<Caller> {
  const id = await withSystem(db, 'manage-conferences', (trx) => findConferenceId(trx, reference))
  if (id === null) throw notFound(`conference: ${reference}`)
  return asOperator(id)
}

/** Every conference, newest first. */
export async function allConferences(db: Db): Promise<Caller[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const query = { limit: 100, cursor }
    const page = await withSystem(db, 'manage-conferences', (trx) => listConferences(trx, query))
    ids.push(...page.data.map(({ id }) => id))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return ids.map(asOperator)
}

/** The one that is named, else all: an id alone does not tell whose it is. */
export async function conferencesToSearch(
  db: Db,
  reference: string | undefined,
): Promise<Caller[]> {
  return reference === undefined ? allConferences(db) : [await findConference(db, reference)]
}

/**
 * Runs `work` in one conference after the other until one has what it asks for. Row security keeps
 * each look inside its own conference, where the indexes are.
 *
 * @throws AppError `not_found` of the last one.
 */
export function inOwner<T>(
  db: Db,
  conferences: readonly Caller[],
  kind: string,
  work: (trx: Tx, caller: Caller) => Promise<T>,
): Promise<T> {
  return searchConferences(conferences, kind, (caller) =>
    withTenant(db, caller, (trx) => work(trx, caller)),
  )
}

/** The same for work that opens its own transactions. */
export async function searchConferences<T>(
  conferences: readonly Caller[],
  kind: string,
  work: (caller: Caller) => Promise<T>,
): Promise<T> {
  for (const caller of conferences) {
    try {
      return await work(caller)
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'not_found')) throw error
    }
  }
  throw notFound(kind)
}

function asOperator(conferenceId: string): Caller {
  return { conferenceId, actor: CLI_ACTOR, sponsorId: null }
}

/**
 * The id of the conference that is named, else of the only one with a Stripe key.
 *
 * @throws UsageError when there are several; AppError `stripe_key_missing` when there is none.
 */
export async function conferenceWithKey(db: Db, reference: string | undefined): Promise<string> {
  if (reference !== undefined) return (await findConference(db, reference)).conferenceId
  const [only, ...others] = await allWithKey(db)
  if (only === undefined) {
    throw new AppError('stripe_key_missing', 'No conference has a Stripe key.')
  }
  if (others.length > 0) {
    const slugs = [only, ...others].map(({ slug }) => slug).join(', ')
    throw new UsageError(`name one with --conference, several have a Stripe key: ${slugs}`)
  }
  return only.id
}

async function allWithKey(db: Db): Promise<ConferenceRow[]> {
  const found: ConferenceRow[] = []
  let cursor: string | undefined
  do {
    const query = { limit: 100, cursor }
    const page = await withSystem(db, 'manage-conferences', (trx) => listConferences(trx, query))
    found.push(...page.data.filter((row) => row.stripe_secret_key_last4 !== null))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return found
}
