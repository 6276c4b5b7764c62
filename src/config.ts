import { z } from 'zod'
import { describeIssue, type Issue } from './shared/describe-issue.ts'

const seconds = (fallback: number) => z.coerce.number().int().min(1).max(86_400).default(fallback)
const days = (fallback: number) => z.coerce.number().int().min(0).max(36_500).default(fallback)
const flag = z.stringbool({ truthy: ['true', '1', 'yes'], falsy: ['false', '0', 'no'] })
const key = z
  .base64()
  .refine((text) => Buffer.from(text, 'base64').length === 32, 'must be 32 bytes, base64 encoded')
const toKey = (text: string | undefined) =>
  text === undefined ? null : Buffer.from(text, 'base64')

/** Only a provider on this machine, for development, may do without https. */
const ISSUER =
  /^(https:\/\/[^\s?#]+|http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(\/[^\s?#]*)?)$/

/** Whether requests go to Stripe itself. Production and live keys allow nothing else. */
export function isStripeApi(base: string | undefined): boolean {
  return base === undefined || /^https:\/\/([a-z0-9-]+\.)?stripe\.com(:443)?\/?$/.test(base)
}

const postgresUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\//, 'must begin with postgres:// or postgresql://')

const schema = z.object({
  NODE_ENV: z.string().optional(),
  DATABASE_URL: postgresUrl.optional(),
  DATABASE_DIRECT_URL: postgresUrl.optional(),
  DATABASE_READ_URL: postgresUrl.optional(),
  DATABASE_READ_MAX_LAG_SECONDS: z.coerce.number().int().min(1).max(3_600).default(10),
  DATABASE_POOL: z.coerce.number().int().min(2).max(200).default(16),
  PREPARE_STATEMENTS: flag.optional(),
  EMBEDDED_DATABASE: flag.default(false),
  DATA_DIR: z.string().min(1).default('.data'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(3000),
  HOST: z.string().min(1).default('127.0.0.1'),
  PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
  TRUST_PROXY: z.string().optional(),
  CORS_ORIGINS: z
    .string()
    .transform((text) => text.split(',').map((origin) => origin.trim()))
    .pipe(
      z.array(
        z
          .string()
          .regex(
            /^(\*|https?:\/\/[^/\s]+)$/,
            'must be origins such as https://portal.example.org, separated by commas, or *',
          ),
      ),
    )
    .optional(),
  STRIPE_API_BASE: z.url({ protocol: /^https?$/ }).optional(),
  STRIPE_TIMEOUT_SECONDS: seconds(20),
  STRIPE_REQUESTS_PER_SECOND: z.coerce.number().int().min(0).max(1_000).default(20),
  ENCRYPTION_KEY: key.optional(),
  ENCRYPTION_KEY_SECOND: key.optional(),
  OPERATOR_API_KEY: z.string().min(16, 'must have at least 16 characters').optional(),
  METRICS_TOKEN: z.string().min(8).optional(),
  METRICS_PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  SLOW_STATEMENT_MS: z.coerce.number().int().min(0).max(3_600_000).default(1_000),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  OTEL_EXPORTER_OTLP_PROTOCOL: z.string().optional(),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: z.string().optional(),
  OTEL_TRACES_EXPORTER: z.string().optional(),
  OTEL_SDK_DISABLED: z.string().optional(),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  RUN: z.enum(['all', 'serve', 'work']).default('all'),
  MIGRATE_ON_START: flag.optional(),
  LEASE_SECONDS: seconds(60),
  RECONCILE_AFTER_SECONDS: seconds(120),
  MISSED_EVENTS_EVERY_SECONDS: seconds(300),
  STRIPE_SYNC_EVERY_SECONDS: z.coerce.number().int().min(0).max(2_678_400).default(0),
  SMTP_URL: z
    .url({ protocol: /^smtps?$/, error: 'must be smtp://host:port or smtps://user:password@host' })
    .optional(),
  MAIL_FOLDER: z.string().min(1).optional(),
  MAIL_FROM: z
    .string()
    .regex(
      /^([^<>@]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)$/,
      'must be an address such as Tickets <tickets@example.org>',
    )
    .optional(),
  OPERATOR_EMAIL: z
    .string()
    .transform((text) => text.split(',').map((address) => address.trim()))
    .pipe(z.array(z.email('must be mail addresses, separated by commas')).min(1))
    .optional(),
  OIDC_ISSUER: z
    .string()
    .refine(
      (text) => ISSUER.test(text) && URL.canParse(text),
      'must be an https address such as https://id.example.org',
    )
    .optional(),
  OIDC_CLIENT_ID: z.string().min(1).max(500).optional(),
  OIDC_CLIENT_SECRET: z.string().min(1).max(2_000).optional(),
  OIDC_NAME: z.string().trim().min(1).max(40).optional(),
  ENV_PREFIX: z.string().trim().max(40).optional(),
  PURCHASE_URL: z
    .string()
    .regex(/^https?:\/\/\S+$/, 'must be an address such as https://shop.example.org/{purchase}')
    .optional(),
  WEBHOOKS_ALLOW_LOOPBACK: flag.default(false),
  PENDING_EVENTS_THRESHOLD: z.coerce.number().int().min(0).default(20),
  EVENT_RETENTION_DAYS: days(90).refine((n) => n === 0 || n >= 62, 'must be 62 or more, or 0'),
  EVENT_BODY_RETENTION_DAYS: days(90),
  SYNC_RUN_RETENTION_DAYS: days(90),
  DISCOUNT_CHANGE_RETENTION_DAYS: days(365),
  DRAIN_SECONDS: z.coerce.number().int().min(0).max(3_600).default(0),
  SHUTDOWN_SECONDS: seconds(25),
  RATE_LIMIT_PER_MINUTE: z.coerce.number().int().min(1).default(6_000),
  FAILED_LOOKUPS_PER_MINUTE: z.coerce.number().int().min(1).default(20),
})

/** All settings that this service reads itself. .env.example explains each of them. */
export const SETTINGS: readonly string[] = Object.keys(schema.shape)

/** How traces are exported. The packages of OpenTelemetry read all other `OTEL_…` settings. */
export type TracingSettings = Readonly<{ protocol: OtlpProtocol }>

const OTLP_PROTOCOLS = ['http/protobuf', 'http/json'] as const
type OtlpProtocol = (typeof OTLP_PROTOCOLS)[number]

export type Config = Readonly<{
  production: boolean
  nodeEnv: string | undefined
  /** null: use the embedded database. */
  databaseUrl: string | null
  /** Postgres itself, where `databaseUrl` is a pooler. null: `databaseUrl`. */
  databaseDirectUrl: string | null
  /** A streaming replica for lists, reports and exports. null: the primary answers everything. */
  databaseReadUrl: string | null
  /** A replica that is further behind is not read. */
  databaseReadMaxLagSeconds: number
  databasePool: number
  /** Off by default behind a pooler: PgBouncer before 1.21 confuses the statements of its clients. */
  prepareStatements: boolean
  /** The embedded database may also serve production and live keys. */
  embeddedAllowed: boolean
  dataDir: string
  port: number
  host: string
  /** null: derived from the port. */
  publicUrl: string | null
  trustProxy: boolean | number | string[]
  /** Web pages of these origins may call the API. `*`: of all origins. Empty: of none. */
  corsOrigins: readonly string[]
  /** null: Stripe itself. */
  stripeApiBase: string | null
  stripeTimeoutSeconds: number
  /** Maximum background requests per second per Stripe account, across all processes. null: no limit. */
  stripeRequestsPerSecond: number | null
  /** null: read from the data folder. Only allowed with the embedded database. */
  encryptionKey: Buffer | null
  /** The other key while the key is rotated. It decrypts, and never encrypts. */
  encryptionKeySecond: Buffer | null
  operatorApiKey: string | null
  metricsToken: string | null
  /** Where a process that only works serves its probes and metrics. null: it does not listen. */
  metricsPort: number | null
  /** Statements that take longer are logged. null: none. */
  slowStatementMs: number | null
  /** null: no setting names an OTLP endpoint, so nothing is traced. */
  tracing: TracingSettings | null
  logLevel: string
  run: 'all' | 'serve' | 'work'
  migrateOnStart: boolean
  leaseSeconds: number
  reconcileAfterSeconds: number
  missedEventsEverySeconds: number
  /** How often all mirrored resources are synced in full. null: only on request. */
  stripeSyncEverySeconds: number | null
  pendingEventsThreshold: number
  mail: Readonly<{
    smtpUrl: string | null
    folder: string | null
    from: string
    operators: readonly string[]
    prefix: string | null
  }>
  /** The provider with which staff sign in. null: only mailed links. */
  oidc: Readonly<{ issuer: string; clientId: string; clientSecret: string; name: string }> | null
  /** The page of a purchase, with `{conference}` and `{purchase}` in it. null: the API. */
  purchaseUrl: string | null
  /** Outbound webhooks may go to this machine, also over http. For development and tests. */
  webhooksAllowLoopback: boolean
  /** Days after which data is deleted. null: never. */
  retention: Readonly<{
    eventDays: number | null
    eventBodyDays: number | null
    syncRunDays: number | null
    discountChangeDays: number | null
  }>
  /** How long a process serves after SIGTERM while /readyz already fails. */
  drainSeconds: number
  shutdownSeconds: number
  rateLimitPerMinute: number
  failedLookupsPerMinute: number
}>

/** Where people reach the pages of this service. In development that is this machine. */
export const webUrlOf = ({ publicUrl, port }: Pick<Config, 'publicUrl' | 'port'>): string =>
  publicUrl ?? `http://localhost:${port}`

/** Lists every wrong or missing setting, one per line, so that one start shows all of them. */
export class ConfigError extends Error {
  constructor(problems: string[]) {
    super(`The settings are not valid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`)
    this.name = 'ConfigError'
  }
}

/** What the settings are for. Only the service needs the secrets. */
export type ConfigUse = 'service' | 'migration'

/**
 * Reads the settings from the environment. No other code reads it.
 *
 * @throws ConfigError that lists all problems.
 */
export function loadConfig(
  env: NodeJS.ProcessEnv = process.env,
  use: ConfigUse = 'service',
): Config {
  // An empty value in an .env file (`PORT=`) means "not set".
  const present = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  const parsed = schema.safeParse(present)
  if (!parsed.success) {
    throw new ConfigError(
      parsed.error.issues.map(
        (issue) => `${issue.path.join('.')} ${describeIssue(issue as Issue, false)}`,
      ),
    )
  }
  const set = parsed.data
  const problems = missingSettings(set, use)
  if (problems.length > 0) throw new ConfigError(problems)
  const production = set.NODE_ENV === 'production'
  return {
    production,
    nodeEnv: set.NODE_ENV,
    databaseUrl: set.DATABASE_URL ?? null,
    databaseDirectUrl: set.DATABASE_DIRECT_URL ?? null,
    databaseReadUrl: set.DATABASE_READ_URL ?? null,
    databaseReadMaxLagSeconds: set.DATABASE_READ_MAX_LAG_SECONDS,
    databasePool: set.DATABASE_POOL,
    prepareStatements: set.PREPARE_STATEMENTS ?? set.DATABASE_DIRECT_URL === undefined,
    embeddedAllowed: set.EMBEDDED_DATABASE,
    dataDir: set.DATA_DIR,
    port: set.PORT,
    host: set.HOST,
    publicUrl: set.PUBLIC_URL ?? null,
    trustProxy: parseTrustProxy(set.TRUST_PROXY),
    corsOrigins: set.CORS_ORIGINS ?? [],
    stripeApiBase: set.STRIPE_API_BASE ?? null,
    stripeTimeoutSeconds: set.STRIPE_TIMEOUT_SECONDS,
    stripeRequestsPerSecond: set.STRIPE_REQUESTS_PER_SECOND || null,
    encryptionKey: toKey(set.ENCRYPTION_KEY),
    encryptionKeySecond: toKey(set.ENCRYPTION_KEY_SECOND),
    operatorApiKey: set.OPERATOR_API_KEY ?? null,
    metricsToken: set.METRICS_TOKEN ?? null,
    metricsPort: set.METRICS_PORT ?? null,
    slowStatementMs: set.SLOW_STATEMENT_MS || null,
    tracing: tracingOf(set),
    logLevel: set.LOG_LEVEL,
    run: set.RUN,
    migrateOnStart: set.MIGRATE_ON_START ?? !production,
    leaseSeconds: set.LEASE_SECONDS,
    reconcileAfterSeconds: set.RECONCILE_AFTER_SECONDS,
    missedEventsEverySeconds: set.MISSED_EVENTS_EVERY_SECONDS,
    stripeSyncEverySeconds: set.STRIPE_SYNC_EVERY_SECONDS || null,
    pendingEventsThreshold: set.PENDING_EVENTS_THRESHOLD,
    webhooksAllowLoopback: set.WEBHOOKS_ALLOW_LOOPBACK,
    mail: {
      smtpUrl: set.SMTP_URL ?? null,
      folder: set.MAIL_FOLDER ?? null,
      from: set.MAIL_FROM ?? 'sponsor-vouchers <vouchers@localhost>',
      operators: set.OPERATOR_EMAIL ?? [],
      prefix: set.ENV_PREFIX ?? null,
    },
    oidc: oidcOf(set),
    purchaseUrl: set.PURCHASE_URL ?? null,
    retention: {
      eventDays: set.EVENT_RETENTION_DAYS || null,
      eventBodyDays: set.EVENT_BODY_RETENTION_DAYS || null,
      syncRunDays: set.SYNC_RUN_RETENTION_DAYS || null,
      discountChangeDays: set.DISCOUNT_CHANGE_RETENTION_DAYS || null,
    },
    drainSeconds: set.DRAIN_SECONDS,
    shutdownSeconds: set.SHUTDOWN_SECONDS,
    rateLimitPerMinute: set.RATE_LIMIT_PER_MINUTE,
    failedLookupsPerMinute: set.FAILED_LOOKUPS_PER_MINUTE,
  }
}

/** @see https://opentelemetry.io/docs/specs/otel/protocol/exporter/ */
function tracingOf(env: z.infer<typeof schema>): TracingSettings | null {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? env.OTEL_EXPORTER_OTLP_ENDPOINT
  const isOff = env.OTEL_SDK_DISABLED?.toLowerCase() === 'true'
  if (endpoint === undefined || isOff || env.OTEL_TRACES_EXPORTER === 'none') return null
  const { name } = otlpProtocol(env)
  return { protocol: OTLP_PROTOCOLS.find((known) => known === name) ?? 'http/protobuf' }
}

/** The protocol that is set, and by which setting. */
function otlpProtocol(env: z.infer<typeof schema>): { name: string; setting: string } {
  const ofTraces = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL
  return ofTraces === undefined
    ? {
        name: env.OTEL_EXPORTER_OTLP_PROTOCOL ?? 'http/protobuf',
        setting: 'OTEL_EXPORTER_OTLP_PROTOCOL',
      }
    : { name: ofTraces, setting: 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL' }
}

/** Checks them only in a process that traces: a platform may set them for every program. */
function wrongTracingSettings(env: z.infer<typeof schema>): string[] {
  if (tracingOf(env) === null) return []
  const { name, setting } = otlpProtocol(env)
  const isKnown = OTLP_PROTOCOLS.some((known) => known === name)
  const { OTEL_TRACES_EXPORTER: exporter = 'otlp' } = env
  return [
    ...(isKnown ? [] : [`${setting} must be http/protobuf or http/json`]),
    ...(exporter === 'otlp' ? [] : ['OTEL_TRACES_EXPORTER must be otlp or none']),
  ]
}

function oidcOf(env: z.infer<typeof schema>): Config['oidc'] {
  const {
    OIDC_ISSUER: issuer,
    OIDC_CLIENT_ID: clientId,
    OIDC_CLIENT_SECRET: clientSecret,
    OIDC_NAME: name,
  } = env
  if (issuer === undefined || clientId === undefined || clientSecret === undefined) return null
  return { issuer, clientId, clientSecret, name: name ?? new URL(issuer).hostname }
}

function missingOidcSettings(env: z.infer<typeof schema>): string[] {
  const needed = ['OIDC_ISSUER', 'OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET'] as const
  const missing = needed.filter((name) => env[name] === undefined)
  if (missing.length === needed.length && env.OIDC_NAME === undefined) return []
  const isOpen = env.NODE_ENV === 'production' && env.OIDC_ISSUER?.startsWith('http:') === true
  return [
    ...missing.map((name) => `${name} is required with the other OIDC settings`),
    ...(isOpen ? ['OIDC_ISSUER must be an https address in production'] : []),
  ]
}

function missingSettings(env: z.infer<typeof schema>, use: ConfigUse): string[] {
  const production = env.NODE_ENV === 'production'
  const problems = [...missingOidcSettings(env), ...wrongTracingSettings(env)]
  if (production && env.DATABASE_URL === undefined && !env.EMBEDDED_DATABASE) {
    problems.push('DATABASE_URL is required in production (or EMBEDDED_DATABASE=true)')
  }
  if (env.DATABASE_URL === undefined && env.DATABASE_READ_URL !== undefined) {
    problems.push('DATABASE_READ_URL needs DATABASE_URL: the embedded database has no replica')
  }
  if (env.DATABASE_DIRECT_URL !== undefined && env.DATABASE_URL === undefined) {
    problems.push('DATABASE_DIRECT_URL requires DATABASE_URL, the address of the pooler')
  }
  if (production && !isStripeApi(env.STRIPE_API_BASE)) {
    problems.push('STRIPE_API_BASE must be an address of Stripe in production, or absent')
  }
  if (production && env.WEBHOOKS_ALLOW_LOOPBACK) {
    problems.push('WEBHOOKS_ALLOW_LOOPBACK is not allowed in production')
  }
  if (env.SMTP_URL !== undefined && env.MAIL_FOLDER !== undefined) {
    problems.push('SMTP_URL and MAIL_FOLDER cannot be combined: choose mail server or files')
  }
  if (env.SMTP_URL !== undefined && env.MAIL_FROM === undefined) {
    problems.push('MAIL_FROM is required with SMTP_URL: the sender of the mails')
  }
  if (env.ENCRYPTION_KEY_SECOND !== undefined && env.ENCRYPTION_KEY === undefined) {
    problems.push('ENCRYPTION_KEY is required with ENCRYPTION_KEY_SECOND')
  }
  if (use === 'service' && (env.DATABASE_URL !== undefined || production)) {
    if (env.ENCRYPTION_KEY === undefined) {
      problems.push('ENCRYPTION_KEY is required: 32 random bytes, base64 (openssl rand -base64 32)')
    }
    if (env.OPERATOR_API_KEY === undefined) {
      problems.push('OPERATOR_API_KEY is required: a random text with at least 16 characters')
    }
  }
  if (use === 'service' && production && env.PUBLIC_URL === undefined) {
    problems.push('PUBLIC_URL is required in production: the address of the service for people')
  }
  return problems
}

function parseTrustProxy(text: string | undefined): boolean | number | string[] {
  if (text === undefined || text === '' || text === 'false') return false
  if (text === 'true') return true
  return /^\d+$/.test(text) ? Number(text) : text.split(',').map((part) => part.trim())
}
