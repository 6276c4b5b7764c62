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

// The program runs, but may not look at its own file; a real start would fail on that.
const NO_ACCESS_TO_ITSELF = 'invalid binary'

/** The way that works here, and the major version of the PostgreSQL that it runs, e.g. `18`. */
export type ChosenRunner = { runner: Runner; major: string }

/**
 * Tries the ways to run PostgreSQL, best first, by running it, and gives the folder to the user
 * that the server will be. No server may be running on the folder.
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
    failures.push(`${runner.name}: ${output || 'it cannot reach the folder'}`)
  }
  throw noRunnerError(folders, binaries, failures)
}

/** The ways worth trying here, best first. Only root needs more than one. */
async function runnersFor(folders: EmbeddedFolders): Promise<Runner[]> {
  if (process.getuid?.() !== 0) return [asMyself]
  const linux = process.platform === 'linux'
  // Data that an ordinary user made stays that user's, or "sudo" once would lock the user out.
  const owner = await ordinaryOwner(folders.data)
  if (owner !== undefined) return linux ? asOwner(owner) : [asUser(owner)]
  if (linux) return [throughUserNamespace, asUser(), asUserWithFileAccess()]
  const projectOwner = await ordinaryOwner(dirname(folders.root))
  return projectOwner === undefined ? [] : [asUser(projectOwner)]
}

function asOwner(owner: FileOwner): Runner[] {
  const runners = [asUser(owner), asUserWithFileAccess(owner)]
  // Data of "nobody" is what the last resort below made; root may well take it back.
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
    // A container may take even from root the right to give files away.
    return { ok: false, output: errorMessage(error) }
  }
}

// A shell asks the kernel, as that user, whether the folder can be entered and written to.
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
  // Our own working folder may be closed to the other user.
  return runCommand({ ...command, options: { ...command.options, cwd: folders.root } })
}

function noRunnerError(
  folders: EmbeddedFolders,
  binaries: Binaries,
  failures: string[],
): EmbeddedPostgresError {
  const reasons = failures.map((failure) => `\n  ${failure}`).join('')
  const asRoot = `PostgreSQL refuses to run as root: use an ordinary user who can reach ${folders.root}. `
  return new EmbeddedPostgresError(
    `The embedded PostgreSQL in ${binaries.packageFolder} cannot be run. ` +
      `${process.getuid?.() === 0 ? asRoot : ''}On Linux its programs need glibc (not Alpine's musl) ` +
      `and a disk from which programs may run. Change that, ${OR_SET_DATABASE_URL}. ` +
      `Tried:${reasons || ' nothing'}`,
  )
}

export type RunnableCommand = {
  command: string
  args: string[]
  options: { cwd?: string; uid?: number; gid?: number }
}

/** A way to run PostgreSQL's programs, which refuse to run as root. */
export type Runner = {
  name: string
  /** Who must own the data folder on the host; undefined: whoever we are. */
  owner: FileOwner | undefined
  command(program: string, args: string[]): RunnableCommand
}

/** "nobody" on Linux; the number is what the kernel itself uses for users that it cannot map. */
const NOBODY: FileOwner = { uid: 65534, gid: 65534 }

/** Not root: nothing to do. */
export const asMyself: Runner = {
  name: 'this user',
  owner: undefined,
  command: (program, args) => ({ command: program, args, options: {} }),
}

/**
 * Root seen as "nobody": the server keeps root's ordinary file rights, so a project in a 0700 home
 * works and no file changes its owner, but it has no capability and does not know itself as root.
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

/** Root steps down to another user, who must be able to reach project and data folder. */
export function asUser(owner: FileOwner = NOBODY): Runner {
  return {
    name: `user ${owner.uid}`,
    owner,
    command: (program, args) => ({ command: program, args, options: { ...owner } }),
  }
}

/**
 * Root steps down to another user but lends it the right to pass closed folders (a project below
 * /root in a container that forbids user namespaces). Linux only.
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
        // Else access(2), with which PostgreSQL looks for its own program, leaves the right out.
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

/** Runs a program to its end, with nothing on stdin but `input`; never throws. Output is trimmed. */
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
    // A program that ends without reading its input is no error of ours.
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
 * Gives a folder and all below it to `owner`, where it is another's: data made through a user
 * namespace belongs to root and is opened as "nobody" once namespaces are forbidden. About 30 ms
 * for the 1,000 files of a cluster. Symlinks (tablespaces) are not followed; what disappears
 * meanwhile (the lock drafts of other launchers) is skipped.
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
