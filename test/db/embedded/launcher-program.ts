// Run by the tests as a process of its own, as main.ts would use the launcher: it starts the
// database, says so on stdout, and stops it on SIGINT and SIGTERM, or at once with "finish".
import { once } from 'node:events'
import { startEmbeddedPostgres } from '../../../src/db/embedded/start-embedded-postgres.ts'

const [folder = '', end = 'wait'] = process.argv.slice(2)

// Before the start, as a service does: a signal during the start must not end the process halfway.
const signal = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const keepAlive = setInterval(() => {}, 60_000)
try {
  const server = await startEmbeddedPostgres({ folder, durable: false })
  // `stop` is a function, which JSON leaves out.
  process.stdout.write(`${JSON.stringify(server)}\n`)
  if (end === 'wait') await signal
  // With "abandon" the server stays for the next start; this process must still end by itself.
  if (end !== 'abandon') await server.stop()
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: String(error) })}\n`)
} finally {
  clearInterval(keepAlive)
}
