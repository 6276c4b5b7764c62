/** The way out that every message offers, since the embedded server is only a convenience. */
export const WAY_OUT = 'or set DATABASE_URL to a PostgreSQL server of your own'

/** The embedded server cannot run here. The message says why and what a person can do about it. */
export class EmbeddedPostgresError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.name = 'EmbeddedPostgresError'
  }
}
