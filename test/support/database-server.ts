import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { TestProject } from 'vitest/node'
import { startEmbeddedPostgres } from '../../src/db/embedded/start-embedded-postgres.ts'
import { openTestRun, type TestRun } from './test-run.ts'
import { discardAbandonedFolders, TEST_SERVER } from './test-servers.ts'

declare module 'vitest' {
  // Declaration merging, the one thing that only an interface can do.
  interface ProvidedContext {
    testRun: TestRun
  }
}

type Server = Pick<TestRun, 'adminConnectionString' | 'pooledConnectionString'> & {
  stop(): Promise<void>
}

/**
 * Vitest's global setup: one server, one migrated template database and one ordinary role for the
 * whole run. TEST_DATABASE_URL or DATABASE_URL names a server to use instead of the embedded one. If that is a
 * pooler, DATABASE_DIRECT_URL names the server itself.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await discardAbandonedFolders()
  const server = await findServer()
  try {
    const run = await openTestRun(server.adminConnectionString, server.pooledConnectionString)
    project.provide('testRun', run.details)
    return async () => {
      try {
        await run.close()
      } finally {
        await server.stop()
      }
    }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function findServer(): Promise<Server> {
  const given = process.env['TEST_DATABASE_URL'] || process.env['DATABASE_URL']
  const direct = process.env['DATABASE_DIRECT_URL']
  if (given) {
    return {
      adminConnectionString: direct || given,
      pooledConnectionString: direct ? given : null,
      stop: async () => {},
    }
  }
  const server = await startEmbeddedPostgres(TEST_SERVER)
  process.once('exit', stopAfterInterrupt)
  const stop = async () => {
    process.off('exit', stopAfterInterrupt)
    await server.stop()
  }
  return { adminConnectionString: server.adminConnectionString, pooledConnectionString: null, stop }
}

function stopAfterInterrupt(): void {
  const program = fileURLToPath(new URL('stop-after-interrupt.ts', import.meta.url))
  // Vitest's module runner has no import.meta.resolve here.
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const args = ['--import', tsx, program]
  spawn(process.execPath, args, { detached: true, stdio: 'ignore' }).unref()
}
