import pg from 'pg'

/** One session that may do everything, for making and dropping databases; closed afterwards. */
export async function withAdminClient<T>(
  connectionString: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString,
    application_name: 'sponsor-vouchers-test-admin',
  })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

type Changes = { user?: string; password?: string; database?: string }

/** The same server with another login or database. */
export function withLogin(connectionString: string, changes: Changes): string {
  const url = new URL(connectionString)
  if (changes.user !== undefined) url.username = changes.user
  if (changes.password !== undefined) url.password = changes.password
  if (changes.database !== undefined) url.pathname = changes.database
  return url.href
}
