import pg from 'pg'
import { SUPERUSER } from './init-cluster.ts'
import { connectionUrl, type ServerAddress } from './server-address.ts'

/** A superuser's session on one of the server's databases, closed afterwards. */
export async function withAdminSession<T>(
  address: ServerAddress,
  password: string,
  work: (client: pg.Client) => Promise<T>,
  database = 'postgres',
): Promise<T> {
  const connectionString = connectionUrl(address, { user: SUPERUSER, password, database })
  return withSession(connectionString, work)
}

/** A session that is closed afterwards; gives up connecting after five seconds. */
export async function withSession<T>(
  connectionString: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5_000 })
  // A server that dies under an idle session must not end this process with an unhandled event.
  client.on('error', () => {})
  try {
    await client.connect()
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}
