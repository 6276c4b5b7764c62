// The tests run this as another process, which uses the launcher like main.ts: it starts the
// database, reports it on stdout, and stops it on SIGINT and SIGTERM, or immediately with "finish".
// Its first argument is the bundled launcher: loading the source would take a second of CPU.
// Its last one, if any, names the user to become, after loading what that user may not be able to read.
import { once } from 'node:events'

const [launcher = '', folder = '', end = 'wait', otherUser] = process.argv.slice(2)

function become({ uid, gid }) {
  process.setgroups([])
  process.setgid(gid)
  process.setuid(uid)
}

// Before the start, as in the service: a signal during the start must not end the process.
const signal = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
const keepAlive = setInterval(() => {}, 60_000)
try {
  const { startWithin } = await import(launcher)
  const user = otherUser === undefined ? undefined : JSON.parse(otherUser)
  if (user !== undefined) become(user)
  const surroundings = user === undefined ? {} : { binaries: user.binaries }
  const server = await startWithin({ folder, durable: false }, surroundings)
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
