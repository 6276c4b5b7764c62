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
