import { chown, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { EmbeddedFolders } from './embedded-folders.ts'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'
import { messageOf, unlessMissing } from './error-text.ts'
import { giveTree } from './give-tree.ts'
import type { Binaries } from './locate-binaries.ts'
import type { FileOwner } from './private-file.ts'
import { type CommandResult, runCommand } from './run-command.ts'
import {
  asMyself,
  asUser,
  asUserWithFileAccess,
  NOBODY,
  type Runner,
  throughUserNamespace,
} from './runner.ts'

// The program runs, but may not look at its own file; a real start would fail on that.
const BLIND = 'invalid binary'

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
    const { ok, output } = await tryOut(runner, folders, binaries)
    const major = /\(PostgreSQL\) (\d+)/.exec(output)?.[1]
    if (ok && major !== undefined && !output.includes(BLIND)) {
      if (runner.owner !== undefined) await giveTree(folders.root, runner.owner)
      return { runner, major }
    }
    failures.push(`${runner.name}: ${output || 'it cannot reach the folder'}`)
  }
  throw cannotRun(folders, binaries, failures)
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

async function tryOut(
  runner: Runner,
  folders: EmbeddedFolders,
  binaries: Binaries,
): Promise<CommandResult> {
  try {
    if (runner.owner !== undefined) await chown(folders.root, runner.owner.uid, runner.owner.gid)
    return await probe(runner, folders, binaries)
  } catch (error) {
    // A container may take even from root the right to give files away.
    return { ok: false, output: messageOf(error) }
  }
}

// A shell asks the kernel, as that user, whether the folder can be entered and written to.
const REACH = 'cd "$1" && test -w . && exec "$2" --version'

async function probe(
  runner: Runner,
  folders: EmbeddedFolders,
  binaries: Binaries,
): Promise<CommandResult> {
  const { postgres } = binaries
  const command =
    process.platform === 'win32'
      ? runner.command(postgres, ['--version'])
      : runner.command('/bin/sh', ['-c', REACH, 'sh', folders.root, postgres])
  // Our own working folder may be closed to the other user.
  return runCommand({ ...command, options: { ...command.options, cwd: folders.root } })
}

function cannotRun(
  folders: EmbeddedFolders,
  binaries: Binaries,
  failures: string[],
): EmbeddedPostgresError {
  const reasons = failures.map((failure) => `\n  ${failure}`).join('')
  const asRoot = `PostgreSQL refuses to run as root: use an ordinary user who can reach ${folders.root}. `
  return new EmbeddedPostgresError(
    `The embedded PostgreSQL in ${binaries.packageFolder} cannot be run. ` +
      `${process.getuid?.() === 0 ? asRoot : ''}On Linux its programs need glibc (not Alpine's musl) ` +
      `and a disk from which programs may run. Change that, ${WAY_OUT}. ` +
      `Tried:${reasons || ' nothing'}`,
  )
}
