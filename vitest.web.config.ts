import { defineConfig } from 'vitest/config'

// Journeys in a real browser, against the built pages: `npm run test:web`. They need Chromium.
// oxlint-disable-next-line import/no-default-export -- vitest reads the default export
export default defineConfig({
  test: {
    include: ['test/web/**/*.test.ts'],
    globalSetup: [
      'test/web/support/built-pages.ts',
      'test/support/database-server.ts',
      'test/support/openapi-yaml.ts',
    ],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
  },
})
