import { execFile } from 'node:child_process'
import { readFile, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The checkout that this bench belongs to. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

async function git(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('git', args, { cwd: ROOT })
  return stdout.trim()
}

export type OtherVersion = {
  /** Abbreviated. */
  commit: string
  title: string
  folder: string
  /** What its package.json declares differently from ours, whose packages it uses. */
  otherDependencies: string[]
}

/**
 * Checks out another version of this repository, which uses our node_modules.
 *
 * @returns null if the version is not there: in a shallow clone or a tarball.
 */
export async function checkOutVersion(
  ref: string,
  folder: string,
  onEnd: (remove: () => Promise<unknown>) => void,
): Promise<OtherVersion | null> {
  const found = git('rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`)
  const commit = await found.catch(() => null)
  if (commit === null) return null
  const packages = join(folder, 'node_modules')
  onEnd(async () => {
    // First the link: what it leads to is ours.
    await rm(packages, { force: true })
    await git('worktree', 'remove', '--force', folder)
  })
  await git('worktree', 'add', '--quiet', '--detach', folder, commit)
  await symlink(join(ROOT, 'node_modules'), packages, 'junction')
  return {
    commit: await git('rev-parse', '--short', commit),
    title: await git('log', '-1', '--format=%s', commit),
    folder,
    otherDependencies: await differingDependencies(folder),
  }
}

async function differingDependencies(folder: string): Promise<string[]> {
  const [theirs, ours] = await Promise.all([dependenciesOf(folder), dependenciesOf(ROOT)])
  return Object.entries(theirs)
    .filter(([name, version]) => ours[name] !== version)
    .map(([name, version]) => `${name} ${version}`)
}

async function dependenciesOf(folder: string): Promise<Record<string, string>> {
  const text = await readFile(join(folder, 'package.json'), 'utf8')
  const { dependencies } = JSON.parse(text) as { dependencies: Record<string, string> }
  return dependencies
}
