import { createSavedCards } from '../billing/customers/saved-cards.ts'
import {
  type ConferenceRow,
  findConferenceId,
  listConferences,
} from '../conferences/conference-store.ts'
import type { StripeAccountPort } from '../conferences/manage-conference.ts'
import { assertEncryptionKey } from '../conferences/stripe-credentials.ts'
import type { Config, ConfigUse } from '../config.ts'
import { assertSessions } from '../db/assert-sessions.ts'
import { connect, type Db, type Tx } from '../db/connect.ts'
import { isSchemaCompatible, migrateToLatest } from '../db/migrations.ts'
import { type OpenDatabase, openDatabase } from '../db/open-database.ts'
import type { Page, PageQuery } from '../db/pages.ts'
import { withOwner, withSystem, withTenant } from '../db/tenant-scope.ts'
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
import { type Clock, systemClock } from '../shared/time.ts'
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
  clock: Clock
  purchases: BulkPurchaseService
  logger: Logger
  metrics: ServiceMetrics
  eventHooks: typeof EVENT_HOOKS
}

/** Runs `work` with the database of the settings; stops the embedded one if this command started it. */
export async function withDatabase<T>(
  cli: Cli,
  work: (database: OpenDatabase, config: Config, logger: Logger) => Promise<T>,
  use: ConfigUse = 'service',
): Promise<T> {
  const config = cli.loadConfig(use)
  // A command reports in its output or its error; it writes no log.
  const logger = createLogger('silent')
  const database = await openDatabase(config, logger)
  try {
    return await unlessInterrupted(cli.signal, work(database, config, logger))
  } finally {
    await database.stop()
  }
}

/**
 * Runs `work` with the parts of the service, after the checks that a process makes at its start.
 *
 * @throws StartupError for a pooler without a direct connection, the schema of another release, or another ENCRYPTION_KEY than the database's.
 */
export function withSession<T>(cli: Cli, work: (session: Session) => Promise<T>): Promise<T> {
  return withDatabase(cli, async (database, config, logger) => {
    const db = connect(database.connectionString, {
      max: 4,
      applicationName: 'sponsor-vouchers cli',
      prepareStatements: config.prepareStatements,
    })
    try {
      await assertSessions(db, { ...database, prepareStatements: config.prepareStatements })
      await prepareSchema(database, db, config)
      return await work(await openSession(db, config, logger))
    } finally {
      await db.destroy()
    }
  })
}

/**
 * Like withSession, but the signal does not end the session: the work checks `cli.signal` itself
 * between two requests, so that the outcome of the current request is saved.
 */
export function withLongSession<T>(cli: Cli, work: (session: Session) => Promise<T>): Promise<T> {
  return withSession({ ...cli, signal: new AbortController().signal }, work)
}

/** The same session with Stripe clients that are throttled like other background work. */
export function inBackground(session: Session): Session {
  const connect = (conferenceId: string) => session.clients.background(conferenceId)
  return { ...session, clients: { ...session.clients, connect } }
}

/** All rows of a paged list. */
export async function allPages<Row>(
  fetch: (query: PageQuery) => Promise<Page<Row>>,
): Promise<Row[]> {
  const rows: Row[] = []
  let cursor: string | undefined
  do {
    const page = await fetch({ limit: 100, cursor })
    rows.push(...page.data)
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return rows
}

async function prepareSchema(database: OpenDatabase, db: Db, config: Config): Promise<void> {
  if (await isSchemaCompatible(db)) return
  if (config.migrateOnStart) await migrateToLatest(database.directConnectionString)
  if (config.migrateOnStart && (await isSchemaCompatible(db))) return
  throw new StartupError(
    'The database schema belongs to another release. Run `migrate` to update an older schema.',
  )
}

async function openSession(db: Db, config: Config, logger: Logger): Promise<Session> {
  const { encryptionKey } = await loadSecrets(config, logger)
  const encryption = createEncryption(encryptionKey, config.encryptionKeySecond)
  // Otherwise a command could store a Stripe key that no process of the service can decrypt.
  await assertEncryptionKey(db, encryption)
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
    clock: systemClock,
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

// A person who can run commands has the password of the database, so commands act as an operator.
const ACTOR_ID = 'cli'

/** The actor that the history records for changes made by a command. */
export const CLI_ACTOR: Actor = { kind: 'operator', id: ACTOR_ID }

/** The same, for creating API keys. */
export const CLI_PRINCIPAL: Principal = { role: 'operator', id: ACTOR_ID }

/** Finds a conference by slug or id; the caller is an operator. @throws AppError `not_found` */
export async function findConference(db: Db, reference: string): Promise<Caller> {
  const id = await withSystem(db, 'manage-conferences', (trx) => findConferenceId(trx, reference))
  if (id === null) throw notFound(`conference: ${reference}`)
  return asOperator(id)
}

/** Every conference, newest first. */
async function allConferences(db: Db): Promise<Caller[]> {
  return (await allConferenceRows(db)).map(({ id }) => asOperator(id))
}

/** The named conference, otherwise all: an id does not show its conference. */
export async function conferencesToSearch(
  db: Db,
  reference: string | undefined,
): Promise<Caller[]> {
  return reference === undefined ? allConferences(db) : [await findConference(db, reference)]
}

/**
 * Runs `work` in one conference after another until one of them finds the object. Row-level security
 * limits each query to its own conference.
 *
 * @throws AppError `not_found` if no conference has the object.
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

/**
 * Runs `work` for an object of the platform, such as an operator, and if there is none with this id in one
 * conference after another.
 *
 * @throws AppError `not_found`
 */
export async function inPlatformOrOwner<T>(
  db: Db,
  kind: string,
  work: (trx: Tx, conferenceId: string | null) => Promise<T>,
): Promise<T> {
  try {
    const platform = { conferenceId: null, actor: CLI_ACTOR }
    return await withOwner(db, platform, (trx) => work(trx, null))
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'not_found')) throw error
    return inOwner(db, await allConferences(db), kind, (trx, { conferenceId }) =>
      work(trx, conferenceId),
    )
  }
}

/** The owner that an option names: a conference, otherwise the platform. The caller is an operator. */
export async function ownerOf(
  db: Db,
  reference: string | undefined,
): Promise<{ conferenceId: string | null; actor: Actor }> {
  return reference === undefined
    ? { conferenceId: null, actor: CLI_ACTOR }
    : findConference(db, reference)
}

/** Like `inOwner`, for work that opens its own transactions. */
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
 * The id of the named conference, otherwise of the only one with a Stripe key.
 *
 * @throws UsageError if several have a key; AppError `stripe_key_missing` if none has.
 */
export async function conferenceWithKey(db: Db, reference: string | undefined): Promise<string> {
  if (reference !== undefined) return (await findConference(db, reference)).conferenceId
  const [only, ...others] = await allWithKey(db)
  if (only === undefined) {
    throw new AppError('stripe_key_missing', 'No conference has a Stripe key.')
  }
  if (others.length > 0) {
    const slugs = [only, ...others].map(({ slug }) => slug).join(', ')
    throw new UsageError(
      `--conference is required, because several conferences have a Stripe key: ${slugs}`,
    )
  }
  return only.id
}

async function allWithKey(db: Db): Promise<ConferenceRow[]> {
  const rows = await allConferenceRows(db)
  return rows.filter((row) => row.stripe_secret_key_last4 !== null)
}

function allConferenceRows(db: Db): Promise<ConferenceRow[]> {
  return allPages((query) =>
    withSystem(db, 'manage-conferences', (trx) => listConferences(trx, query)),
  )
}
