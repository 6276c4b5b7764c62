import { spawn } from 'node:child_process'
import { chown, lchown, lstat, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  EmbeddedPostgresError,
  errorMessage,
  OR_SET_DATABASE_URL,
  unlessMissing,
} from './embedded-postgres-error.ts'
import type { Binaries } from './postgres-binaries.ts'
import type { EmbeddedFolders, FileOwner } from './server-folder.ts'

// The program runs, but cannot read its own file. A real start would fail.
const NO_ACCESS_TO_ITSELF = 'invalid binary'

/** A runner that works on this machine, and the major version of its PostgreSQL, e.g. `18`. */
export type ChosenRunner = { runner: Runner; major: string }

/**
 * Tries the runners for PostgreSQL, best first, by running it. Then it gives the folder to the user of
 * the server. No server may be running on the folder.
 */
export async function chooseRunner(
  folders: EmbeddedFolders,
  binaries: Binaries,
  candidates?: Runner[],
): Promise<ChosenRunner> {
  const failures: string[] = []
  for (const runner of candidates ?? (await runnersFor(folders))) {
    const { ok, output } = await tryRunner(runner, folders, binaries)
    const major = /\(PostgreSQL\) (\d+)/.exec(output)?.[1]
    if (ok && major !== undefined && !output.includes(NO_ACCESS_TO_ITSELF)) {
      if (runner.owner !== undefined) await chownTree(folders.root, runner.owner)
      return { runner, major }
    }
    failures.push(`${runner.name}: ${output || 'this user cannot access the folder'}`)
  }
  throw noRunnerError(folders, binaries, failures)
}

/** The runners to try on this machine, best first. Only root needs more than one. */
async function runnersFor(folders: EmbeddedFolders): Promise<Runner[]> {
  if (process.getuid?.() !== 0) return [asMyself]
  const linux = process.platform === 'linux'
  // The data of an ordinary user stays that user's. Otherwise one run with sudo would lock the user out.
  const owner = await ordinaryOwner(folders.data)
  if (owner !== undefined) return linux ? asOwner(owner) : [asUser(owner)]
  if (linux) return [throughUserNamespace, asUser(), asUserWithFileAccess()]
  const projectOwner = await ordinaryOwner(dirname(folders.root))
  return projectOwner === undefined ? [] : [asUser(projectOwner)]
}

function asOwner(owner: FileOwner): Runner[] {
  const runners = [asUser(owner), asUserWithFileAccess(owner)]
  // Data of "nobody" was created by the last runner below. Root may take it back.
  return owner.uid === NOBODY.uid ? [...runners, throughUserNamespace] : runners
}

async function ordinaryOwner(path: string): Promise<FileOwner | undefined> {
  const found = await unlessMissing(stat(path))
  return found === undefined || found.uid === 0 ? undefined : { uid: found.uid, gid: found.gid }
}

async function tryRunner(
  runner: Runner,
  folders: EmbeddedFolders,
  binaries: Binaries,
): Promise<CommandResult> {
  try {
    if (runner.owner !== undefined) await chown(folders.root, runner.owner.uid, runner.owner.gid)
    return await probe(runner, folders, binaries)
  } catch (error) {
    // In some containers, even root cannot change the owner of a file.
    return { ok: false, output: errorMessage(error) }
  }
}

// A shell checks, as that user, whether the folder can be entered and written.
const PROBE_SCRIPT = 'cd "$1" && test -w . && exec "$2" --version'

async function probe(
  runner: Runner,
  folders: EmbeddedFolders,
  binaries: Binaries,
): Promise<CommandResult> {
  const { postgres } = binaries
  const command =
    process.platform === 'win32'
      ? runner.command(postgres, ['--version'])
      : runner.command('/bin/sh', ['-c', PROBE_SCRIPT, 'sh', folders.root, postgres])
  // The other user may not have access to our working folder.
  return runCommand({ ...command, options: { ...command.options, cwd: folders.root } })
}

function noRunnerError(
  folders: EmbeddedFolders,
  binaries: Binaries,
  failures: string[],
): EmbeddedPostgresError {
  const reasons = failures.map((failure) => `\n  ${failure}`).join('')
  const asRoot = `PostgreSQL refuses to run as root: use an ordinary user who can access ${folders.root}. `
  return new EmbeddedPostgresError(
    `The embedded PostgreSQL in ${binaries.packageFolder} cannot be run. ` +
      `${process.getuid?.() === 0 ? asRoot : ''}On Linux its programs need glibc (not Alpine's musl) ` +
      `and a file system that allows programs to run. Change that, ${OR_SET_DATABASE_URL}. ` +
      `Tried:${reasons || ' nothing'}`,
  )
}

export type RunnableCommand = {
  command: string
  args: string[]
  options: { cwd?: string; uid?: number; gid?: number }
}

/** Runs PostgreSQL's programs as some user. They refuse to run as root. */
export type Runner = {
  name: string
  /** The user who must own the data folder on the host. undefined: the current user. */
  owner: FileOwner | undefined
  command(program: string, args: string[]): RunnableCommand
}

/** "nobody" on Linux. The kernel uses this number for users that it cannot map. */
const NOBODY: FileOwner = { uid: 65534, gid: 65534 }

/** For a user who is not root. */
export const asMyself: Runner = {
  name: 'this user',
  owner: undefined,
  command: (program, args) => ({ command: program, args, options: {} }),
}

/**
 * Root appears as "nobody". The server keeps root's ordinary file rights, so a project in a 0700 home
 * works and no file changes its owner. But it has no capabilities and does not see itself as root.
 */
export const throughUserNamespace: Runner = {
  name: 'unshare',
  owner: { uid: 0, gid: 0 },
  command: (program, args) => ({
    command: 'unshare',
    args: [
      '--user',
      `--map-user=${NOBODY.uid}`,
      `--map-group=${NOBODY.gid}`,
      '--',
      program,
      ...args,
    ],
    options: {},
  }),
}

/** Root switches to another user, who must have access to the project and the data folder. */
export function asUser(owner: FileOwner = NOBODY): Runner {
  return {
    name: `user ${owner.uid}`,
    owner,
    command: (program, args) => ({ command: program, args, options: { ...owner } }),
  }
}

/**
 * Root switches to another user, who keeps the right to enter closed folders (a project below /root in
 * a container that forbids user namespaces). Linux only.
 */
export function asUserWithFileAccess(owner: FileOwner = NOBODY): Runner {
  return {
    name: `user ${owner.uid} with file access`,
    owner,
    command: (program, args) => ({
      command: 'setpriv',
      args: [
        `--reuid=${owner.uid}`,
        `--regid=${owner.gid}`,
        '--clear-groups',
        '--inh-caps=+dac_override',
        '--ambient-caps=+dac_override',
        // Without this, access(2) ignores that right, and PostgreSQL cannot find its own program.
        '--securebits=+no_setuid_fixup',
        '--',
        program,
        ...args,
      ],
      options: {},
    }),
  }
}

type CommandResult = { ok: boolean; output: string }

/** Runs a program to its end with `input` on stdin. It never throws. The output is trimmed. */
export async function runCommand(
  { command, args, options }: RunnableCommand,
  input = '',
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: 'pipe', windowsHide: true })
    let output = ''
    const collect = (chunk: string) => {
      output += chunk
    }
    child.stdout.setEncoding('utf8').on('data', collect)
    child.stderr.setEncoding('utf8').on('data', collect)
    // A program may end without reading its input.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.once('error', (error) => resolve({ ok: false, output: error.message }))
    child.once('close', (code, signal) => {
      const end = signal === null ? '' : `ended by ${signal}`
      resolve({ ok: code === 0, output: `${output.trimEnd()}\n${end}`.trim() })
    })
  })
}

/**
 * Changes the owner of a folder and everything in it. Data that was created in a user namespace belongs
 * to root, but "nobody" must open it if namespaces are forbidden later. It takes about 30 ms for the
 * 1,000 files of a cluster. It does not follow symlinks (tablespaces), and skips files that disappear
 * meanwhile (lock drafts of other launchers).
 */
async function chownTree(path: string, owner: FileOwner): Promise<void> {
  const found = await unlessMissing(lstat(path))
  if (found === undefined) return
  if (found.uid !== owner.uid || found.gid !== owner.gid) {
    await unlessMissing(lchown(path, owner.uid, owner.gid))
  }
  if (!found.isDirectory()) return
  for (const name of await readdir(path)) await chownTree(join(path, name), owner)
}
