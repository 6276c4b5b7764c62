import type { Socket } from 'node:net'
import type { App } from './route-deps.ts'

/** How often a closing server looks for connections whose last answer has gone out. Milliseconds. */
const LOOK_MS = 100

/**
 * Lets the server close as soon as every request is answered. Node alone would wait for connections
 * that have asked nothing, which browsers and HTTP clients open ahead of need (a minute, until
 * `headersTimeout`), and for those whose answer went out after the close began and promised to keep
 * the connection open (72 seconds, `keepAliveTimeout`).
 *
 * @see https://nodejs.org/api/http.html#servercloseidleconnections
 */
export function hangUpWhenClosing(app: App): void {
  const { server } = app
  const silent = new Set<Socket>()
  let isClosing = false
  server.on('connection', (socket) => {
    if (isClosing) {
      socket.destroy()
      return
    }
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  server.on('request', ({ socket }) => silent.delete(socket))
  app.addHook('preClose', (done) => {
    isClosing = true
    for (const socket of silent) socket.destroy()
    if (server.listening) {
      const looking = setInterval(() => server.closeIdleConnections(), LOOK_MS)
      server.once('close', () => clearInterval(looking))
    }
    done()
  })
}
