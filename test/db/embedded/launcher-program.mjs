// The tests run this as another process, which uses the launcher like main.ts: it starts the
// database, reports it on stdout, and stops it on SIGINT and SIGTERM, or immediately with "finish".
// Its first argument is the compiled launcher: loading the source would take a second of CPU.
import { once } from 'node:events'

const [launcher = '', folder = '', end = 'wait'] = process.argv.slice(2)

// Before the start, as in the service: a signal during the start must not end the process.
const signal = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const keepAlive = setInterval(() => {}, 60_000)
try {
  const { startEmbeddedPostgres } = await import(launcher)
  const server = await startEmbeddedPostgres({ folder, durable: false })
  // JSON omits `stop`, because it is a function.
  process.stdout.write(`${JSON.stringify(server)}\n`)
  if (end === 'wait') await signal
  // With "abandon", the server keeps running for the next start, but this process must still end.
  if (end !== 'abandon') await server.stop()
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: String(error) })}\n`)
} finally {
  clearInterval(keepAlive)
}
