import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'

// oxlint-disable-next-line import/no-default-export -- vitest reads the default export
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'fake-stripe/test/**/*.test.ts'],
    // The first install and build in clean folders (`npm run test:deploy`), the others open a browser
    // (`npm run test:web`) or start load balancers and several Postgres servers (`npm run test:cluster`).
    exclude: ['test/deploy/**', 'test/web/**', 'test/cluster/**'],
    globalSetup: [
      'test/support/built-programs.ts',
      'test/support/database-server.ts',
      'test/support/openapi-yaml.ts',
    ],
    sequence: { sequencer: LongestFirst },
    pool: 'forks',
    // Tests make much garbage that lives briefly: collecting it seldom saves five percent of the work.
    execArgv: ['--max-semi-space-size=64'],
    // Tests wait for Postgres most of the time, so two workers a core keep both busy.
    maxWorkers: 4,
    // Files that share a worker share what is loaded: loading everything anew for each of them took a
    // third of the run. Databases, servers and mocks are still each file's own. So a hook of a module
    // that is not a test would count for one file only: they are functions (`useX()`) instead.
    isolate: false,
    restoreMocks: true,
    unstubEnvs: true,
    // A test may start five processes while other files compete for the processor.
    testTimeout: 120_000,
    // A condition is waited for as long as a busy machine needs; a second, the default, is a guess.
    expect: { poll: { timeout: 60_000 } },
    hookTimeout: 120_000,
    // Stopping the embedded server writes a checkpoint.
    teardownTimeout: 30_000,
  },
})
