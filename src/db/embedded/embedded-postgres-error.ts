/** The way out that every message offers, since the embedded server is only a convenience. */
export const OR_SET_DATABASE_URL = 'or set DATABASE_URL to a PostgreSQL server of your own'

/** The embedded server cannot run here. The message says why and what a person can do about it. */
export class EmbeddedPostgresError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.name = 'EmbeddedPostgresError'
  }
}

/** The message of anything that was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The `code` of a Node or PostgreSQL error (`ENOENT`, `28P01`), or nothing. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** What `promise` gives, or nothing when the file or process that it asks for is not there. */
export async function unlessMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch (error) {
    const code = errorCode(error)
    // ESRCH is what reading /proc answers when the process dies between open and read; ENOTDIR what
    // a path below a file does.
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'ENOTDIR') return undefined
    throw error
  }
}
