import { afterEach, describe, expect, it } from 'vitest'
import { startEmbeddedPostgres } from '../../src/db/embedded/start-embedded-postgres.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { discardScratchFolder } from '../support/test-servers.ts'
import { settingsFor, useCommandLine } from './command-line.ts'
import { makeDataFolder, startProgram } from './start-program.ts'

const database = useTestDatabase()
const cli = useCommandLine(database)

const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function runProgram(args: readonly string[], env: NodeJS.ProcessEnv) {
  const program = startProgram('src/cli/sponsor-vouchers.ts', args, env)
  const exitCode = await program.ended
  return { exitCode, stdout: program.stdout, stderr: program.stderr }
}

describe('the schema', { timeout: 120_000 }, () => {
  const env = { MIGRATE_ON_START: 'false' }

  it('is not undone in production without --yes', async () => {
    const production = { env: { NODE_ENV: 'production', STRIPE_API_BASE: '' } }
    for (const option of ['--down', '--back']) {
      expect(await cli.run(['migrate', option], production)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('in production it needs --yes'),
      })
    }
    expect(await cli.run(['conferences:list'], { env })).toMatchObject({ exitCode: 0 })
  })

  it('is undone, required by the next command, and applied again', async () => {
    const settings = settingsFor(database.connectionString)
    const down = await runProgram(['migrate', '--down', '--json'], settings)
    expect(down).toEqual({ exitCode: 0, stdout: expect.any(String), stderr: '' })
    expect(JSON.parse(down.stdout)).toEqual({ schema: 'absent' })
    const without = await cli.run(['conferences:list', '--json'], { env })
    expect(without).toMatchObject({ exitCode: 1, stdout: '' })
    expect(JSON.parse(without.stderr)).toMatchObject({ code: 'settings_invalid' })
    expect(await cli.run(['migrate'], { env })).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await cli.run(['conferences:list'], { env })).toEqual({
      exitCode: 0,
      stdout: 'None.\n',
      stderr: '',
    })
  })
})

describe('without DATABASE_URL', { timeout: 120_000 }, () => {
  it('the program joins the embedded database of a running service and leaves it running', async () => {
    const folder = await makeDataFolder()
    cleanUps.push(() => discardScratchFolder(folder))
    const server = await startEmbeddedPostgres({ folder })
    cleanUps.push(() => server.stop())
    const made = ['--slug', 'devconf', '--name', 'DevConf', '--currency', 'EUR']
    const env = { DATA_DIR: folder }
    expect(await runProgram(['conferences:create', ...made], env)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('devconf'),
      stderr: '',
    })
    const absent = {
      DATABASE_URL: '',
      DATABASE_DIRECT_URL: '',
      ENCRYPTION_KEY: '',
      OPERATOR_API_KEY: '',
    }
    const listed = await cli.json(['conferences:list'], { env: { ...env, ...absent } })
    expect(listed).toMatchObject({ data: [{ slug: 'devconf' }] })
    const again = await startEmbeddedPostgres({ folder })
    expect(again.reused).toBe(true)
    await again.stop()
  })
})
