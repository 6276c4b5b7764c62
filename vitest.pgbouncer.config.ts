import { defineConfig, mergeConfig } from 'vitest/config'
import whole from './vitest.config.ts'

// All tests of `npm test`, with PgBouncer in transaction mode between the service and Postgres:
// `npm run test:pgbouncer`. It needs Debian's package.
// oxlint-disable-next-line import/no-default-export -- vitest reads the default export
export default mergeConfig(
  defineConfig({ test: { globalSetup: ['test/cluster/support/through-pgbouncer.ts'] } }),
  whole,
)
