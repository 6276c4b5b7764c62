import type { PostmasterPid } from './postmaster-pid.ts'

/** Where a server listens: `host` is the folder of its unix socket, or 127.0.0.1. */
export type ServerAddress = { host: string; port: number }

export type Login = { user: string; password: string; database: string }

export function addressOf(server: PostmasterPid): ServerAddress {
  return { host: server.socketFolder || '127.0.0.1', port: server.port }
}

/**
 * A URL for `pg`, knex and anything that parses URLs: the socket's folder is a parameter, because
 * a URL with an empty host is not one. `sslmode=disable` keeps a PGSSLMODE of the shell away from
 * a server that has no certificate.
 */
export function connectionUrl(address: ServerAddress, login: Login): string {
  const url = new URL('postgresql://localhost')
  url.username = login.user
  url.password = login.password
  url.pathname = encodeURIComponent(login.database)
  url.searchParams.set('sslmode', 'disable')
  if (address.host.startsWith('/')) url.searchParams.set('host', address.host)
  else url.hostname = address.host
  url.port = String(address.port)
  return url.href
}
