import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, onTestFinished } from 'vitest'

const WORKSPACE = fileURLToPath(new URL('../', import.meta.url))
const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url))
const run = promisify(execFile)

export type RunningCommand = {
  /** Of the API, as the command printed it. */
  url: string
  /** All lines up to the last one of the summary. */
  output: string
  /** Sends the signal and resolves with the exit code. */
  stop(signal: NodeJS.Signals): Promise<number | null>
}

export type FailedCommand = { code: number | null; stderr: string }

/**
 * The package as `npm pack` makes it, installed into an empty project. The dependencies are links to
 * those of the repository, so no registry is needed.
 */
export function useInstalledPackage() {
  let project = ''
  beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), 'fake-stripe-'))
    await run('npm', ['pack', '--pack-destination', project], { cwd: WORKSPACE })
    const [tarball = ''] = (await readdir(project)).filter((name) => name.endsWith('.tgz'))
    const modules = join(project, 'node_modules')
    const target = join(modules, 'fake-stripe')
    await mkdir(target, { recursive: true })
    await run('tar', ['-xzf', join(project, tarball), '--strip-components=1', '-C', target])
    const manifest = JSON.parse(await readFile(join(target, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>
    }
    for (const name of Object.keys(manifest.dependencies))
      await symlink(join(MODULES, name), join(modules, name))
    // What npm does with the package's `bin`.
    await mkdir(join(modules, '.bin'))
    await symlink('../fake-stripe/dist/cli.js', join(modules, '.bin', 'fake-stripe'))
    await chmod(join(target, 'dist', 'cli.js'), 0o755)
  })
  afterAll(() => rm(project, { recursive: true, force: true }))

  const command = (args: readonly string[], env: Record<string, string> = {}) =>
    spawn(process.execPath, [join(project, 'node_modules/fake-stripe/dist/cli.js'), ...args], {
      cwd: project,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })

  return {
    get project() {
      return project
    },
    /** Runs the command until it listens; the test's end stops it. */
    async start(...args: string[]): Promise<RunningCommand> {
      const child = command(args)
      onTestFinished(() => void child.kill('SIGKILL'))
      const lines: string[] = []
      for await (const line of createInterface({ input: child.stdout })) {
        lines.push(line)
        if (line.startsWith('Press Ctrl+C')) break
      }
      const url = /API: +(\S+)/.exec(lines.join('\n'))?.[1]
      if (url === undefined) throw new Error(`The command did not start: ${lines.join('\n')}`)
      return {
        url,
        output: lines.join('\n'),
        async stop(signal) {
          child.kill(signal)
          const [code] = (await once(child, 'exit')) as [number | null]
          return code
        },
      }
    },
    /** Runs a command that must fail. */
    async fail(args: string[], env?: Record<string, string>): Promise<FailedCommand> {
      const child = command(args, env)
      let stderr = ''
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        stderr += chunk
      })
      const [code] = (await once(child, 'close')) as [number | null]
      return { code, stderr }
    },
    /** Runs any program in the project. */
    run: (file: string, args: string[]) => run(file, args, { cwd: project }),
  }
}
