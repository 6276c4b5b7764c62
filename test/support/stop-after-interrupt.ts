// Vitest leaves 1 ms after Ctrl-C, without its global teardown. This program, started on the way
// out, joins the server and leaves it again: as the last one out it stops it.
import { startEmbeddedPostgres } from '../../src/db/embedded/start-embedded-postgres.ts'
import { discardAbandonedFolders, TEST_SERVER } from './test-servers.ts'

await discardAbandonedFolders()
const server = await startEmbeddedPostgres(TEST_SERVER)
await server.stop()
