import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { ConfigError, loadConfig, SETTINGS } from '../../src/config.ts'

const SECRETS = {
  ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
  OPERATOR_API_KEY: 'operator-key-of-the-tests',
}
const PRODUCTION = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://service@db/vouchers',
  PUBLIC_URL: 'https://vouchers.example.org',
  ...SECRETS,
}

function problemsOf(env: NodeJS.ProcessEnv): string[] {
  try {
    loadConfig(env)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.split('\n').slice(1)
  }
}

describe('the settings', () => {
  it('are all optional in development: the embedded database and generated secrets', () => {
    expect(loadConfig({})).toMatchObject({
      production: false,
      databaseUrl: null,
      encryptionKey: null,
      operatorApiKey: null,
      migrateOnStart: true,
      run: 'all',
      leaseSeconds: 60,
      reconcileAfterSeconds: 120,
      missedEventsEverySeconds: 300,
      pendingEventsThreshold: 20,
    })
  })

  it('are all explained in .env.example, except those of OpenTelemetry, which its specification explains', async () => {
    const example = await readFile(new URL('../../.env.example', import.meta.url), 'utf8')
    const explained = [...example.matchAll(/^#?([A-Z][A-Z_]+)=/gm)].map(([, name]) => name)
    const own = (names: readonly (string | undefined)[]) =>
      new Set(names.filter((name) => name?.startsWith('OTEL_') === false))
    expect(own(explained)).toEqual(own(SETTINGS))
  })

  it('limit background requests to Stripe by default', () => {
    expect(loadConfig({})).toMatchObject({ stripeRequestsPerSecond: 20 })
    const withLimit = (text: string) => loadConfig({ STRIPE_REQUESTS_PER_SECOND: text })
    expect(withLimit('1000')).toMatchObject({ stripeRequestsPerSecond: 1000 })
    expect(withLimit('0')).toMatchObject({ stripeRequestsPerSecond: null })
    expect(() => withLimit('1001')).toThrow(/STRIPE_REQUESTS_PER_SECOND/)
    expect(() => withLimit('1.5')).toThrow(/STRIPE_REQUESTS_PER_SECOND/)
  })

  it('name a read replica only beside a primary', () => {
    expect(loadConfig({})).toMatchObject({ databaseReadUrl: null, databaseReadMaxLagSeconds: 10 })
    const DATABASE_READ_URL = 'postgres://service@replica/vouchers'
    expect(loadConfig({ ...PRODUCTION, DATABASE_READ_URL })).toMatchObject({
      databaseReadUrl: DATABASE_READ_URL,
    })
    expect(problemsOf({ DATABASE_READ_URL })).toEqual([
      expect.stringContaining('DATABASE_READ_URL needs DATABASE_URL'),
    ])
    expect(
      problemsOf({ DATABASE_READ_URL: 'replica:5432', DATABASE_READ_MAX_LAG_SECONDS: '0' }),
    ).toEqual([
      expect.stringContaining('DATABASE_READ_URL must begin with postgres://'),
      expect.stringContaining('DATABASE_READ_MAX_LAG_SECONDS'),
    ])
  })

  it('name a pooler and Postgres itself, and prepare no statements behind a pooler unless they say so', () => {
    expect(loadConfig({})).toMatchObject({ databaseDirectUrl: null, prepareStatements: true })
    const pooled = { ...PRODUCTION, DATABASE_DIRECT_URL: 'postgres://service@primary/vouchers' }
    expect(loadConfig(pooled)).toMatchObject({
      databaseUrl: 'postgres://service@db/vouchers',
      databaseDirectUrl: 'postgres://service@primary/vouchers',
      prepareStatements: false,
    })
    expect(loadConfig({ ...pooled, PREPARE_STATEMENTS: 'true' }).prepareStatements).toBe(true)
    const { DATABASE_DIRECT_URL } = pooled
    expect(problemsOf({ DATABASE_DIRECT_URL })).toEqual([
      expect.stringContaining('DATABASE_DIRECT_URL requires DATABASE_URL'),
    ])
  })

  it('name an identity provider completely or not at all, and one on this machine only for development', () => {
    expect(loadConfig({}).oidc).toBeNull()
    const OIDC = { OIDC_CLIENT_ID: 'vouchers', OIDC_CLIENT_SECRET: 'secret' }
    const at = (OIDC_ISSUER: string) => ({ ...OIDC, OIDC_ISSUER })
    expect(loadConfig(at('https://id.example.org/realms/conf')).oidc).toEqual({
      issuer: 'https://id.example.org/realms/conf',
      clientId: 'vouchers',
      clientSecret: 'secret',
      name: 'id.example.org',
    })
    expect(problemsOf(OIDC)).toEqual([expect.stringContaining('OIDC_ISSUER is required')])
    expect(problemsOf({ OIDC_NAME: 'Conference ID' })).toHaveLength(3)
    for (const issuer of [
      'http://id.example.org',
      'http://localhost.example.org',
      'id',
      'https://a?b',
    ]) {
      expect(problemsOf(at(issuer))).toEqual([expect.stringContaining('OIDC_ISSUER must be')])
    }
    const local = at('http://127.0.0.1:4000')
    expect(problemsOf(local)).toEqual([])
    expect(problemsOf({ ...PRODUCTION, ...local })).toEqual([
      expect.stringContaining('OIDC_ISSUER must be an https address in production'),
    ])
  })

  it('export traces only if a setting names an endpoint, and name a wrong one only then', () => {
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }
    expect(loadConfig({ OTEL_SERVICE_NAME: 'vouchers' }).tracing).toBeNull()
    expect(loadConfig(endpoint).tracing).toEqual({ protocol: 'http/protobuf' })
    expect(
      loadConfig({
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector/v1/traces',
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      }).tracing,
    ).toEqual({ protocol: 'http/json' })
    for (const off of [{ OTEL_SDK_DISABLED: 'true' }, { OTEL_TRACES_EXPORTER: 'none' }]) {
      expect(loadConfig({ ...endpoint, ...off }).tracing).toBeNull()
    }
    const ofPlatform = { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_TRACES_EXPORTER: 'console' }
    expect(problemsOf(ofPlatform)).toEqual([])
    expect(problemsOf({ ...endpoint, ...ofPlatform })).toEqual([
      '  - OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json',
      '  - OTEL_TRACES_EXPORTER must be otlp or none',
    ])
    expect(problemsOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' })).toEqual([
      expect.stringContaining('OTEL_EXPORTER_OTLP_ENDPOINT'),
    ])
  })

  it('log statements above a second, or another limit, or none', () => {
    expect(loadConfig({}).slowStatementMs).toBe(1_000)
    expect(loadConfig({ SLOW_STATEMENT_MS: '250' }).slowStatementMs).toBe(250)
    expect(loadConfig({ SLOW_STATEMENT_MS: '0' }).slowStatementMs).toBeNull()
    expect(problemsOf({ SLOW_STATEMENT_MS: '-1' })).toEqual([
      expect.stringContaining('SLOW_STATEMENT_MS'),
    ])
  })

  it('send mails only with a server or a folder, and allow only one of them', () => {
    expect(loadConfig({}).mail).toMatchObject({ smtpUrl: null, folder: null, operators: [] })
    const SMTP_URL = 'smtp://localhost:25'
    expect(problemsOf({ SMTP_URL })).toEqual([expect.stringContaining('MAIL_FROM is required')])
    expect(problemsOf({ SMTP_URL, MAIL_FROM: 'a@b.example', MAIL_FOLDER: 'mails' })).toEqual([
      expect.stringContaining('cannot be combined'),
    ])
    const mail = {
      SMTP_URL,
      MAIL_FROM: 'Tickets <tickets@conf.example>',
      OPERATOR_EMAIL: 'ops@conf.example, night@conf.example',
      ENV_PREFIX: 'staging',
    }
    expect(loadConfig(mail).mail).toEqual({
      smtpUrl: SMTP_URL,
      folder: null,
      from: 'Tickets <tickets@conf.example>',
      operators: ['ops@conf.example', 'night@conf.example'],
      prefix: 'staging',
    })
    for (const wrong of [
      { SMTP_URL: 'mail.example:25' },
      { MAIL_FROM: 'Tickets' },
      { OPERATOR_EMAIL: 'ops' },
      { PURCHASE_URL: 'shop' },
    ]) {
      expect(problemsOf(wrong), Object.keys(wrong)[0]).toHaveLength(1)
    }
  })

  it('allow no outbound webhook to this machine in production', () => {
    expect(loadConfig({ WEBHOOKS_ALLOW_LOOPBACK: 'true' })).toMatchObject({
      webhooksAllowLoopback: true,
    })
    expect(problemsOf({ ...PRODUCTION, WEBHOOKS_ALLOW_LOOPBACK: 'true' })).toEqual([
      expect.stringContaining('WEBHOOKS_ALLOW_LOOPBACK'),
    ])
  })

  it('require no secret for a migration', () => {
    const { DATABASE_URL, NODE_ENV } = PRODUCTION
    expect(loadConfig({ DATABASE_URL, NODE_ENV }, 'migration')).toMatchObject({ production: true })
    expect(() => loadConfig({ DATABASE_URL, NODE_ENV })).toThrow(
      /ENCRYPTION_KEY[^]*OPERATOR_API_KEY/,
    )
  })

  it('are complete for production with a database, the two secrets and the public address', () => {
    expect(loadConfig(PRODUCTION)).toMatchObject({ production: true, migrateOnStart: false })
  })

  it.each(['DATABASE_URL', 'ENCRYPTION_KEY', 'OPERATOR_API_KEY', 'PUBLIC_URL'])(
    'are refused in production without %s, by its name',
    (name) => {
      expect(problemsOf({ ...PRODUCTION, [name]: undefined })).toEqual([
        expect.stringContaining(`${name} is required`),
      ])
      // `NAME=` in an .env file is not a value either.
      expect(problemsOf({ ...PRODUCTION, [name]: '' })).toHaveLength(1)
    },
  )

  it('report all missing settings together', () => {
    expect(problemsOf({ NODE_ENV: 'production', STRIPE_API_BASE: 'http://127.0.0.1:1' })).toEqual([
      expect.stringContaining('DATABASE_URL'),
      expect.stringContaining('STRIPE_API_BASE'),
      expect.stringContaining('ENCRYPTION_KEY'),
      expect.stringContaining('OPERATOR_API_KEY'),
      expect.stringContaining('PUBLIC_URL'),
    ])
  })

  it('require secrets with an external database', () => {
    const problems = problemsOf({ DATABASE_URL: 'postgres://me@localhost/vouchers' })
    expect(problems).toEqual([
      expect.stringContaining('ENCRYPTION_KEY'),
      expect.stringContaining('OPERATOR_API_KEY'),
    ])
  })

  it('allow the embedded database in production only if it is enabled explicitly', () => {
    const { DATABASE_URL: _, ...rest } = PRODUCTION
    expect(loadConfig({ ...rest, EMBEDDED_DATABASE: 'true' })).toMatchObject({
      databaseUrl: null,
      embeddedAllowed: true,
    })
  })

  it.each([
    ['https://api.stripe.com', true],
    ['https://api.stripe.com/', true],
    ['http://api.stripe.com', false],
    ['https://api.stripe.com.evil.example', false],
    ['https://evilstripe.com', false],
    ['http://127.0.0.1:12111', false],
  ])('take %s for Stripe in production: %s', (base, isStripe) => {
    const problems = problemsOf({ ...PRODUCTION, STRIPE_API_BASE: base })
    expect(problems.some((problem) => problem.includes('STRIPE_API_BASE'))).toBe(!isStripe)
  })

  it.each([
    ['PORT', '70000'],
    ['DATABASE_URL', 'mysql://db/vouchers'],
    ['ENCRYPTION_KEY', 'c2hvcnQ='],
    ['ENCRYPTION_KEY_SECOND', 'c2hvcnQ='],
    ['ENCRYPTION_KEY', 'not base64!'],
    ['OPERATOR_API_KEY', 'short'],
    ['RUN', 'both'],
    ['LEASE_SECONDS', '0'],
    ['LOG_LEVEL', 'loud'],
  ])('refuse %s=%s', (name, value) => {
    expect(problemsOf({ ...PRODUCTION, [name]: value })[0]).toContain(name)
  })
})
