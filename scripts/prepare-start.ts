// Runs before `npm start`: finds in a second what would stop the service, then builds it if a source file
// changed.
import { createServer } from 'node:net'
import { ConfigError, loadConfig } from '../src/config.ts'
import { StartupError } from '../src/shared/errors.ts'
import { toListenError } from '../src/start-service.ts'
import { build, isBuilt } from './build.ts'

async function assertPortIsFree(host: string, port: number): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(toListenError(error, { host, port })))
    server.listen({ host, port }, () => server.close(() => resolve()))
  })
}

try {
  const { run, host, port } = loadConfig()
  if (run !== 'work') await assertPortIsFree(host, port)
  if (!(await isBuilt())) {
    process.stdout.write('building, because a source file changed\n')
    await build()
  }
} catch (error) {
  const isExpected = error instanceof ConfigError || error instanceof StartupError
  process.stderr.write(`${isExpected ? error.message : String(error)}\n`)
  process.exitCode = 1
}
