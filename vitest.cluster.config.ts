import { defineConfig } from 'vitest/config'

// Several processes, and the programs of others between them: `npm run test:cluster`. Each file needs
// packages of Debian and is left out, loudly, where they are missing.
// oxlint-disable-next-line import/no-default-export -- vitest reads the default export
export default defineConfig({
  test: {
    // Drills that take seconds. The failover takes over a minute: `npm run drill -- failover`.
    include: [
      'test/cluster/**/*.test.ts',
      'test/drills/{bad-migration,failed-events,rotate-secrets,stripe-outage}.drill.ts',
    ],
    globalSetup: ['test/support/built-programs.ts', 'test/support/database-server.ts'],
    pool: 'forks',
    // Each file starts servers of its own, and two cores serve them all.
    maxWorkers: 1,
    testTimeout: 300_000,
    expect: { poll: { timeout: 120_000 } },
    hookTimeout: 300_000,
    teardownTimeout: 60_000,
  },
})
