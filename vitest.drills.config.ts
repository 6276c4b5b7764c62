import { defineConfig } from 'vitest/config'

// `npm run drill -- failover`: what an operator must have seen once before it happens. A drill prints what it does
// and fails if something was lost. Short ones also run in `npm run test:cluster`.
// oxlint-disable-next-line import/no-default-export -- vitest reads the default export
export default defineConfig({
  test: {
    include: ['test/drills/*.drill.ts'],
    globalSetup: ['test/support/built-programs.ts', 'test/support/database-server.ts'],
    pool: 'forks',
    maxWorkers: 1,
    disableConsoleIntercept: true,
    testTimeout: 600_000,
    expect: { poll: { timeout: 120_000 } },
    hookTimeout: 300_000,
    teardownTimeout: 60_000,
  },
})
