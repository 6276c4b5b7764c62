import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, it } from 'vitest'
import { builtProgram } from '../support/built-programs.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()

async function runMain(env: NodeJS.ProcessEnv) {
  const child = spawn(process.execPath, [builtProgram('src/main.ts')], {
    env: { PATH: process.env['PATH'], PORT: '0', LOG_LEVEL: 'silent', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [code] = await once(child, 'close')
  return { code: code as number | null, output }
}

it('reports all missing settings and exits with 1, without a stack', async () => {
  const { code, output } = await runMain({ NODE_ENV: 'production', PORT: 'many' })
  expect(code).toBe(1)
  expect(output).toContain('PORT')
  expect(output).not.toContain('    at ')
}, 60_000)

it('reports why it must not run and exits with 1, without a stack', async () => {
  const { code, output } = await runMain({
    NODE_ENV: 'production',
    DATABASE_URL: database.adminConnectionString,
    ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    OPERATOR_API_KEY: 'operator-key-of-the-tests',
    PUBLIC_URL: 'https://vouchers.example.org',
  })
  expect({ code, lines: output.trim().split('\n') }).toMatchObject({
    code: 1,
    lines: [expect.stringMatching(/^The database role .* is a (superuser|BYPASSRLS role)/)],
  })
}, 60_000)
