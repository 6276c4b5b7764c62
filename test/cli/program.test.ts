import { describe, expect, it } from 'vitest'
import { buildProgram } from '../../src/cli/program.ts'
import { useCommandLine } from './command-line.ts'

// Nothing listens there.
const NO_DATABASE = 'postgres://nobody@127.0.0.1:1/none'

const cli = useCommandLine({ connectionString: NO_DATABASE })

const COMMANDS = buildProgram({
  terminal: {
    out: { colours: false, write() {} },
    err: { colours: false, write() {} },
    readLine: async () => null,
  },
  loadConfig: () => {
    throw new Error('help needs no settings')
  },
  signal: new AbortController().signal,
}).commands.map((command) => command.name())

describe('help', () => {
  it('lists every command with its summary', async () => {
    const { exitCode, stdout, stderr } = await cli.run(['--help'])
    expect(exitCode).toBe(0)
    expect(stderr).toBe('')
    for (const command of COMMANDS) expect(stdout).toContain(command)
    expect(stdout).toContain('Exit codes')
  })

  it.each(COMMANDS)('of %s ends with examples to copy', async (command) => {
    const { exitCode, stdout } = await cli.run([command, '--help'], { env: { PORT: 'not a port' } })
    expect(exitCode).toBe(0)
    expect(stdout).toContain(`Examples:\n  # `)
    expect(stdout).toContain(`\n  sponsor-vouchers ${command}`)
    expect(stdout).toContain('--json')
  })

  it('is printed for a command line without a command, which is invalid', async () => {
    const { exitCode, stdout, stderr } = await cli.run([])
    expect(exitCode).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain('Usage: sponsor-vouchers')
  })
})

describe('an invalid command line exits with 2', () => {
  it.each([
    ['an unknown command', ['purchase:list'], 'Did you mean purchases:list?'],
    ['an unknown option', ['conferences:list', '--all'], "unknown option '--all'"],
    ['a missing option', ['sponsors:list'], "required option '--conference"],
    ['a missing argument', ['keys:revoke'], "missing required argument 'key'"],
    ['a surplus argument', ['conferences:list', 'devconf'], 'too many arguments'],
    [
      'a wrong value',
      ['purchases:list', '--conference', 'x', '--created-after', 'May'],
      '--created-after',
    ],
    ['an unknown role', ['keys:create', '--role', 'boss', '--name', 'x'], '--role <role>'],
    [
      'an unknown scope',
      ['keys:create', '--role', 'staff', '--conference', 'x', '--name', 'x', '--scopes', 'all'],
      '--scopes',
    ],
    [
      'money in major units',
      ['purchases:refund', 'bp_1', '--amount', '250.00'],
      "'250.00' is invalid. It must be a whole number",
    ],
    [
      'a price from a variable that is not set',
      ['ticket-types:create', '--conference', 'x', '--name', 'Day', '--price', ''],
      '--price',
    ],
    [
      'a discount that may be money in major units',
      ['coupons:create', '--conference', 'x', '--percent-off', '10.00'],
      '10 instead of 10.00',
    ],
    [
      'a number out of range',
      ['purchases:list', '--conference', 'x', '--limit', '0'],
      '--limit must be at least 1',
    ],
    ['nothing to reconcile', ['purchases:reconcile'], 'either purchase ids or --stuck is required'],
    [
      'too much to replay',
      ['events:replay', 'evt_1', '--failed'],
      'either event ids or --failed is required',
    ],
  ])('%s', async (_what, args, message) => {
    const { exitCode, stdout, stderr } = await cli.run(args)
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' })
    expect(stderr).toMatch(/^error: .*\(usage\)\n$/)
    expect(stderr).toContain(message)
  })

  it('and with --json prints a problem document that names every invalid option', async () => {
    const args = ['purchases:list', '--conference', 'x', '--limit', '0', '--status', 'LOST']
    const { exitCode, stdout, stderr } = await cli.run([...args, '--json'])
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' })
    expect(JSON.parse(stderr)).toMatchObject({
      code: 'usage',
      status: 400,
      errors: [{ pointer: '--limit' }, { pointer: '--status' }],
    })
  })
})

describe('a failed start prints one line and exits with 1', () => {
  it('if the database does not answer', async () => {
    const { exitCode, stdout, stderr } = await cli.run(['conferences:list'])
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
    expect(stderr).toMatch(/^error: .*ECONNREFUSED.* \(database_unavailable\)\n$/)
  })

  it('if settings are invalid, with all of them', async () => {
    const env = { PORT: 'x', LEASE_SECONDS: '0' }
    const { exitCode, stderr } = await cli.run(['conferences:list', '--json'], { env })
    expect(exitCode).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({
      code: 'settings_invalid',
      detail: expect.stringMatching(/PORT.*LEASE_SECONDS/),
    })
  })
})

it('an interrupted command reports it and exits with 130', async () => {
  const ran = await cli.run(['conferences:list', '--json'], { signal: AbortSignal.abort() })
  expect(ran).toMatchObject({ exitCode: 130, stdout: '' })
  expect(JSON.parse(ran.stderr)).toMatchObject({ code: 'interrupted' })
})
