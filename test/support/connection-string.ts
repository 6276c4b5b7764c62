type Changes = { user?: string; password?: string; database?: string }

/** The same server with another login or database. */
export function withLogin(connectionString: string, changes: Changes): string {
  const url = new URL(connectionString)
  if (changes.user !== undefined) url.username = changes.user
  if (changes.password !== undefined) url.password = changes.password
  if (changes.database !== undefined) url.pathname = changes.database
  return url.href
}
