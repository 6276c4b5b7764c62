import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp, buildProbes } from './app.ts'
import { findLiveConference } from './conferences/conference-store.ts'
import { assertEncryptionKey } from './conferences/stripe-credentials.ts'
import { type Config, isStripeApi } from './config.ts'
import { connect, type Db, divideConnections, type WorkKind } from './db/connect.ts'
import { holdLivenessLock } from './db/liveness-lock.ts'
import { openDatabase, prepareDatabase } from './db/open-database.ts'
import { createReadReplica, WATCH_MS } from './db/read-replica.ts'
import { withSystem } from './db/tenant-scope.ts'
import { createWritePositions } from './db/write-positions.ts'
import { loadSecrets } from './development-secrets.ts'
import { EVENT_HOOKS } from './event-hooks.ts'
import { createMetrics } from './http/metrics.ts'
import { createLifecycle } from './http/readiness.ts'
import type { App } from './http/route-deps.ts'
import { startHeartbeat } from './jobs/heartbeat.ts'
import { repeat } from './jobs/repeat.ts'
import { createMirrorFeed } from './mirror/mirror-feed.ts'
import { createEncryption } from './shared/cryptography.ts'
import { StartupError } from './shared/errors.ts'
import type { Logger } from './shared/logger.ts'
import { systemClock } from './shared/time.ts'
import type { Tracer } from './shared/work-context.ts'
import { createShutdown, DRAIN_SHARE, type Shutdown } from './shutdown.ts'
import { createStripeAccounts } from './stripe/stripe-account.ts'
import { createStripeClients } from './stripe/stripe-client.ts'
import { createStripePaymentGateway } from './stripe/stripe-payment-gateway.ts'
import { MAX_SLOT_WAIT_SECONDS } from './stripe/wait-for-rate-limit.ts'
import { startWorker } from './worker.ts'

export type Service = {
  /** The address it listens on, e.g. `http://127.0.0.1:3000`; null for RUN=work without METRICS_PORT. */
  address: string | null
  /**
   * Resolves when the database is prepared and the process serves or works. Until then it listens
   * and answers 503. Rejects with a StartupError, or when a migration failed.
   */
  ready: Promise<void>
  /**
   * Stops intake, drains work, closes pools. Returns whether all ended in time. May be called again.
   *
   * @param options.drain serves for DRAIN_SECONDS before that, while load balancers notice it.
   */
  stop(options?: { drain?: boolean }): Promise<boolean>
}

/**
 * Starts a process of the service, which serves, works or does both, by `RUN`. If the database does not
 * answer yet, the process listens and waits for it.
 *
 * @throws EmbeddedPostgresError, StartupError, or Node's error when it cannot listen.
 */
export async function startService(config: Config, logger: Logger): Promise<Service> {
  const shutdown = createShutdown(config.shutdownSeconds * 1000, logger)
  try {
    const resources = await openResources(config, logger, shutdown)
    const address = await (config.run === 'work' ? serveProbes : serve)(resources, shutdown)
    return {
      address,
      ready: prepareAndWork(resources, shutdown),
      async stop({ drain = false } = {}) {
        if (drain && config.run !== 'work') await drainRequests(resources)
        return shutdown.run()
      },
    }
  } catch (error) {
    await shutdown.run()
    throw error
  }
}

/** Serves for DRAIN_SECONDS: load balancers see that /readyz fails, and stop sending requests. */
async function drainRequests({ config, logger, lifecycle }: Resources): Promise<void> {
  if (config.drainSeconds === 0 || !lifecycle.drain()) return
  logger.info({ seconds: config.drainSeconds }, 'draining')
  await sleep(config.drainSeconds * 1000)
}

type Resources = Awaited<ReturnType<typeof openResources>>

/** What serving and working share. It starts the embedded database, if there is one, and nothing else. */
async function openResources(config: Config, logger: Logger, shutdown: Shutdown) {
  const database = await openDatabase(config, logger)
  shutdown.add('database', 'embedded database', () => database.stop())
  const secrets = await loadSecrets(config, logger)
  const tracer = await startTracing(config, logger, shutdown)
  const metrics = createMetrics({ process: true })
  const poolAt = (
    connectionString: string,
    applicationName: string,
    max: number,
    acquireTimeoutMs: number,
  ) => {
    const db = connect(connectionString, {
      applicationName,
      max,
      acquireTimeoutMs,
      prepareStatements: config.prepareStatements,
      logger,
      watch: { logger, metrics, slowMs: config.slowStatementMs },
    })
    shutdown.add('pools', applicationName, () => db.destroy())
    return db
  }
  const pool = (applicationName: string, max: number, acquireTimeoutMs: number) =>
    poolAt(database.connectionString, applicationName, max, acquireTimeoutMs)
  const encryption = createEncryption(secrets.encryptionKey, config.encryptionKeySecond)
  const shares = divideConnections(config.databasePool, config.run)
  return {
    config,
    logger,
    connectionString: database.connectionString,
    directConnectionString: database.directConnectionString,
    embedded: database.embedded,
    poolOf: (kind: WorkKind) => pool(`sponsor-vouchers ${kind}`, shares[kind], 8_000),
    // A read that waits for a connection of the replica goes to the primary.
    replicaPoolOf: (url: string, kind: WorkKind) =>
      poolAt(url, `sponsor-vouchers ${kind} reads`, shares[kind], 1_500),
    upkeepDb: pool('sponsor-vouchers upkeep', 3, 1_500),
    encryption,
    operatorApiKey: secrets.operatorApiKey,
    metrics,
    stripeAccounts: createStripeAccounts({ config, metrics }),
    clock: systemClock,
    tracer,
    eventHooks: EVENT_HOOKS,
    lifecycle: createLifecycle(),
  }
}

/** Null if no setting names an OTLP endpoint. Then the packages of OpenTelemetry are not even loaded. */
async function startTracing(
  { tracing, run: role }: Config,
  logger: Logger,
  shutdown: Shutdown,
): Promise<Tracer | null> {
  if (tracing === null) return null
  const { createTracing } = await import('./open-telemetry.ts')
  const traces = createTracing(tracing, { role, logger })
  shutdown.add('pools', 'traces', () => traces.stop())
  return traces.tracer
}

/** The adapter to Stripe for one kind of work. It uses only the connections of that kind. */
function connectStripe({ encryption, config, metrics, logger }: Resources, db: Db) {
  const clients = createStripeClients({
    db,
    encryption,
    config,
    metrics,
    logger,
    maxWaitSeconds: MAX_SLOT_WAIT_SECONDS,
  })
  const mirrorFeed = createMirrorFeed({ db, clients, logger })
  return {
    db,
    clients,
    mirrorFeed,
    gateway: createStripePaymentGateway(clients, logger, mirrorFeed),
  }
}

async function serve(resources: Resources, shutdown: Shutdown): Promise<string> {
  const { config, logger, poolOf } = resources
  const livenessLock = holdLivenessLock(resources.directConnectionString, (err) =>
    logger.debug({ err }, 'the liveness lock lost its connection'),
  )
  shutdown.add('pools', 'liveness lock', () => livenessLock.close())
  const db = poolOf('api')
  const replica = connectReplica(resources, db, shutdown)
  const app = await buildApp({
    ...resources,
    ...connectStripe(resources, db),
    ...(replica === null ? {} : { replica }),
    webhookDb: poolOf('webhooks'),
    exportDb: poolOf('exports'),
    livenessLock,
  })
  return listen(app, { port: config.port, setting: 'PORT' }, resources, shutdown)
}

/** A process that only works listens for its probes and metrics, if a setting names the port. */
async function serveProbes(resources: Resources, shutdown: Shutdown): Promise<string | null> {
  const { metricsPort: port } = resources.config
  if (port === null) return null
  return listen(buildProbes(resources), { port, setting: 'METRICS_PORT' }, resources, shutdown)
}

async function listen(
  app: App,
  at: { port: number; setting: string },
  { config: { host }, lifecycle, logger }: Resources,
  shutdown: Shutdown,
): Promise<string> {
  shutdown.add('intake', 'http', async () => {
    lifecycle.stop()
    await app.close()
  })
  const address = await app.listen({ host, port: at.port }).catch((error: unknown) => {
    throw toListenError(error, { host, ...at })
  })
  logger.info({ address }, 'listening')
  return address
}

/** The replica for reads and its connections, or null if the settings name none. */
function connectReplica(resources: Resources, db: Db, shutdown: Shutdown) {
  const { config, logger, metrics, upkeepDb, replicaPoolOf } = resources
  const { databaseReadUrl: url, databaseReadMaxLagSeconds: maxLagSeconds } = config
  if (url === null) return null
  const pools = { db: replicaPoolOf(url, 'api'), exportDb: replicaPoolOf(url, 'exports') }
  const watched = { primary: upkeepDb, replica: pools.db }
  const replica = createReadReplica({ db, watched, maxLagSeconds, logger, metrics })
  const watch = repeat({
    what: 'watch of the read replica',
    everyMs: WATCH_MS,
    logger,
    work: () => replica.watch(),
  })
  shutdown.add('work', 'watch of the read replica', () => watch.stop())
  return { ...replica, ...pools }
}

/** Workers store the positions of their writes for the processes that read from the replica. */
function noteWritesOf({ config, logger }: Resources, db: Db) {
  if (config.databaseReadUrl === null) return {}
  const rememberSeconds = config.databaseReadMaxLagSeconds
  return { noteWrites: createWritePositions({ db, rememberSeconds, logger }).note }
}

/** An error that says what to do when the port cannot be used; any other error as it is. */
export function toListenError(
  error: unknown,
  { host, port, setting = 'PORT' }: { host: string; port: number; setting?: string },
): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (code === 'EADDRINUSE') {
    return new StartupError(
      `Port ${port} of ${host} is in use. Stop the process that uses it, or set ${setting} to another port.`,
      { cause: error },
    )
  }
  if (code === 'EACCES') {
    return new StartupError(
      `This user may not listen on port ${port} of ${host}. Set ${setting} to a port above 1023.`,
      { cause: error },
    )
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new StartupError(
      `HOST ${host} is not an address of this machine. Set HOST to 127.0.0.1, or to 0.0.0.0 for all networks.`,
      { cause: error },
    )
  }
  return error
}

/** Waits for the database as long as necessary, then serves and works. */
async function prepareAndWork(resources: Resources, shutdown: Shutdown): Promise<void> {
  const { config, logger, upkeepDb, embedded } = resources
  const stopping = new AbortController()
  const prepared = prepareDatabase({
    ...resources,
    db: upkeepDb,
    signal: stopping.signal,
    check: async () => {
      await assertEncryptionKey(upkeepDb, resources.encryption)
      await assertLiveModeAllowed(upkeepDb, config, embedded)
    },
  })
  shutdown.add('intake', 'database preparation', async () => {
    stopping.abort()
    await prepared.catch(() => {})
  })
  if (!(await prepared) || stopping.signal.aborted) return
  resources.lifecycle.serve()
  startWork(resources, shutdown)
  logger.info({ run: config.run }, 'ready')
}

function startWork(resources: Resources, shutdown: Shutdown): void {
  const { config, logger, upkeepDb } = resources
  const { leaseSeconds, run: role } = config
  if (role === 'serve') {
    const workerIds = () => []
    const heartbeat = startHeartbeat({ db: upkeepDb, logger, role, leaseSeconds, workerIds })
    shutdown.add('work', 'heartbeat', () => heartbeat.stop())
    return
  }
  const drainMs = config.shutdownSeconds * 1000 * DRAIN_SHARE
  const stripe = connectStripe(resources, resources.poolOf('jobs'))
  const worker = startWorker({
    ...resources,
    ...stripe,
    ...noteWritesOf(resources, stripe.db),
    drainMs,
  })
  shutdown.add('work', 'worker', () => worker.stop())
}

/**
 * A conference with a live key takes real money. So its data must not be in the embedded database
 * without permission, and its key must not be sent to a stand-in for Stripe.
 *
 * @throws StartupError that names the conference and the setting.
 */
export async function assertLiveModeAllowed(
  db: Db,
  config: Pick<Config, 'embeddedAllowed' | 'stripeApiBase'>,
  embedded: boolean,
): Promise<void> {
  const problem = liveModeProblem(config, embedded)
  if (problem === null) return
  const slug = await withSystem(db, 'manage-conferences', findLiveConference)
  if (slug === null) return
  throw new StartupError(`Conference ${slug} has a live Stripe key: ${problem}`)
}

function liveModeProblem(
  config: Pick<Config, 'embeddedAllowed' | 'stripeApiBase'>,
  embedded: boolean,
): string | null {
  if (!isStripeApi(config.stripeApiBase ?? undefined)) {
    return 'remove STRIPE_API_BASE, or set it to an address of Stripe.'
  }
  if (embedded && !config.embeddedAllowed) {
    return 'set DATABASE_URL, or set EMBEDDED_DATABASE=true if the data folder is permanent and backed up.'
  }
  return null
}
