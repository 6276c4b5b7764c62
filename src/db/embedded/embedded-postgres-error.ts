/** The alternative that every message names, because the embedded server is only a convenience. */
export const OR_SET_DATABASE_URL = 'or set DATABASE_URL to a PostgreSQL server of your own'

/** The embedded server cannot run here. The message says why, and how to repair it. */
export class EmbeddedPostgresError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.name = 'EmbeddedPostgresError'
  }
}

/** The message of any thrown value. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The `code` of a Node or PostgreSQL error (`ENOENT`, `28P01`), or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** The result of `promise`, or undefined when its file or process does not exist. */
export async function unlessMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch (error) {
    const code = errorCode(error)
    // Reading /proc fails with ESRCH when the process dies between open and read. A path below a file
    // fails with ENOTDIR.
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'ENOTDIR') return undefined
    throw error
  }
}
