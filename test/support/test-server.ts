import { fileURLToPath } from 'node:url'
import type { EmbeddedOptions } from '../../src/db/embedded/start-embedded-postgres.ts'

/** The server of all test runs in this checkout; several runs may use it at once. */
export const TEST_SERVER: EmbeddedOptions = {
  folder: fileURLToPath(new URL('../../.data/test-postgres', import.meta.url)),
  durable: false,
  maxConnections: 400,
}
