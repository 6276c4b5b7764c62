import type { ServerAddress } from './server-address.ts'

/** What the caller may choose. `maxConnections` counts all clients together. */
export type ServerOptions = { durable: boolean; maxConnections: number }

/** `-c name=value` arguments. No value may hold a space: pg_ctl splits them at spaces on Windows. */
export function settingArguments(address: ServerAddress, options: ServerOptions): string[] {
  const settings: Record<string, string | number> = {
    ...listening(address),
    port: address.port,
    timezone: 'UTC',
    log_timezone: 'UTC',
    max_connections: options.maxConnections,
    cluster_name: 'sponsor-vouchers',
    ...durability(options.durable),
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

function listening(address: ServerAddress): Record<string, string> {
  if (!address.host.startsWith('/')) {
    return { listen_addresses: address.host, unix_socket_directories: '' }
  }
  return { listen_addresses: '', unix_socket_directories: address.host }
}

// Everything that makes a commit survive a power cut, which a test database need not.
function durability(durable: boolean): Record<string, string> {
  if (durable) return { fsync: 'on' }
  return { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }
}
