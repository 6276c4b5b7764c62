import type { Socket } from 'node:net'
import type { App } from './route-deps.ts'

/**
 * Lets the server close without waiting for connections that have asked nothing. Browsers and HTTP
 * clients open them ahead of need; Node closes only those that had a request before, so one of them
 * would hold a stop up until `headersTimeout`, a minute.
 *
 * @see https://nodejs.org/api/http.html#servercloseidleconnections
 */
export function closeSilentConnections(app: App): void {
  const silent = new Set<Socket>()
  let isClosing = false
  app.server.on('connection', (socket) => {
    if (isClosing) {
      socket.destroy()
      return
    }
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  app.server.on('request', ({ socket }) => silent.delete(socket))
  app.addHook('preClose', (done) => {
    isClosing = true
    for (const socket of silent) socket.destroy()
    done()
  })
}
