// Run by the tests as a process of its own, as main.ts would use the launcher: it starts the
// database, says so on stdout, and stops it on SIGINT and SIGTERM, or at once with "finish".
import { startWithin } from '../../../src/db/embedded/start-embedded-postgres.ts'

const [folder = '', end = 'wait'] = process.argv.slice(2)

const keepAlive = setInterval(() => {}, 60_000)
try {
  const server = await startWithin({ folder, durable: false }, {})
  // `stop` is a function, which JSON leaves out.
  process.stdout.write(`${JSON.stringify(server)}\n`)
  const leave = async () => {
    await server.stop()
    clearInterval(keepAlive)
  }
  if (end === 'wait') {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void leave())
  }
  if (end === 'finish') await leave()
  // Leaves the server to the next start; this process must still end by itself.
  if (end === 'abandon') clearInterval(keepAlive)
} catch (error) {
  clearInterval(keepAlive)
  process.stdout.write(`${JSON.stringify({ error: String(error) })}\n`)
}
