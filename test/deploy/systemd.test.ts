import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildProgram } from '../../src/cli/program.ts'
import { loadConfig } from '../../src/config.ts'

// No systemd runs here: its own checker reads the units, and the service reads their settings.

const FOLDER = new URL('../../docs/deploy/systemd/', import.meta.url)
const INSTALLED = '/opt/sponsor-vouchers/bin/sponsor-vouchers'

/** The lines of a section, as they stand. */
async function linesOf(file: string, section = 'Service'): Promise<string[]> {
  const text = await readFile(new URL(file, FOLDER), 'utf8')
  const [, rest = ''] = text.split(`[${section}]\n`)
  const lines = (rest.split(/^\[/m)[0] ?? '').split('\n')
  return lines.filter((line) => line !== '' && !line.startsWith('#'))
}

async function valueOf(file: string, name: string): Promise<string> {
  const line = (await linesOf(file)).find((one) => one.startsWith(`${name}=`))
  if (line === undefined) throw new Error(`${file} has no ${name}`)
  return line.slice(name.length + 1)
}

/** `NAME=value` lines, or words of one line. */
const settingsIn = (parts: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    parts.map((part) => [part.split('=')[0] ?? '', part.slice(part.indexOf('=') + 1)]),
  )

/** What a process gets: the example's settings with secrets, and those of the unit. */
async function environmentOf(unit: string, instance: string): Promise<Record<string, string>> {
  const example = await readFile(new URL('sponsor-vouchers.env', FOLDER), 'utf8')
  const filled = example.split('\n').filter((line) => /^[A-Z_]+=./.test(line))
  const own = (await valueOf(unit, 'Environment')).replaceAll('%i', instance).split(' ')
  return {
    ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    OPERATOR_API_KEY: 'operator-key-of-the-units',
    ...settingsIn(filled),
    ...settingsIn(own),
  }
}

const UNITS = [
  { unit: 'sponsor-vouchers-serve@.service', instance: '3001', run: 'serve', command: 'start' },
  { unit: 'sponsor-vouchers-work@.service', instance: '9464', run: 'work', command: 'start' },
  { unit: 'sponsor-vouchers-migrate.service', instance: '', run: 'all', command: 'migrate' },
] as const

const COMMANDS = buildProgram({
  terminal: {
    out: { colours: false, write() {} },
    err: { colours: false, write() {} },
    readLine: async () => null,
  },
  loadConfig: () => loadConfig({}),
  signal: new AbortController().signal,
}).commands.map((command) => command.name())

describe('the units of systemd', () => {
  it('are all checked here', async () => {
    const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.service'))
    expect(new Set(files)).toEqual(new Set(UNITS.map(({ unit }) => unit)))
  })

  it.each(UNITS)('$unit starts the service with settings that it accepts', async (one) => {
    const environment = await environmentOf(one.unit, one.instance)
    const config = loadConfig(environment)
    const port = one.run === 'serve' ? Number(one.instance) : config.port
    const metricsPort = one.run === 'work' ? Number(one.instance) : null
    expect(config).toMatchObject({ production: true, run: one.run, port, metricsPort })
    const known = await readFile(new URL('../../../.env.example', FOLDER), 'utf8')
    for (const name of Object.keys(environment).filter((each) => each !== 'NODE_ENV')) {
      expect(known).toMatch(new RegExp(`^#?${name}=`, 'm'))
    }
    const [program, command = ''] = (await valueOf(one.unit, 'ExecStart')).split(' ')
    expect(program).toBe(INSTALLED)
    expect(command).toBe(one.command)
    expect(COMMANDS).toContain(command)
  })

  it('give a process the time for an orderly stop', async () => {
    for (const { unit, instance } of UNITS.filter(({ command }) => command === 'start')) {
      const { drainSeconds, shutdownSeconds } = loadConfig(await environmentOf(unit, instance))
      const seconds = Number.parseInt(await valueOf(unit, 'TimeoutStopSec'), 10)
      expect(seconds).toBeGreaterThan(drainSeconds + shutdownSeconds + 2)
    }
  })

  it('restrict the three programs in the same way', async () => {
    const restrictions = await Promise.all(
      UNITS.map(async ({ unit }) => {
        const lines = await linesOf(unit)
        return lines.slice(lines.indexOf('DynamicUser=yes'))
      }),
    )
    expect(restrictions[0]).toContain('NoNewPrivileges=yes')
    for (const each of restrictions) expect(each).toEqual(restrictions[0])
  })
})

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0
if (!hasSystemd) process.stderr.write('\n== SKIPPED: systemd-analyze is not installed.\n\n')

describe.skipIf(!hasSystemd)('systemd-analyze', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-units-'))
    for (const { unit } of UNITS) {
      const text = await readFile(new URL(unit, FOLDER), 'utf8')
      // It checks that the program exists.
      await writeFile(join(folder, unit), text.replace(INSTALLED, process.execPath))
    }
  })
  afterAll(() => rm(folder, { recursive: true }))

  it.each(UNITS)('finds $unit valid and exposed to little', ({ unit, instance }) => {
    const analyze = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { cwd: folder })
      return { status, output: `${String(stdout)}${String(stderr)}` }
    }
    const file = `./${unit.replace('@.', `@${instance}.`)}`
    const verified = analyze('verify', file)
    // It also loads units of the machine that it runs on.
    const about = verified.output.split('\n').filter((line) => line.includes('sponsor-vouchers'))
    expect(about).toEqual([])
    expect(verified.status, verified.output).toBe(0)
    // Of 100; a unit without restrictions has 96.
    const secure = analyze('security', '--offline=yes', '--threshold=20', `./${unit}`)
    expect(secure.status, secure.output).toBe(0)
  })
})
