import { copyFile, readFile, stat, symlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'
import { codeOf, messageOf, unlessMissing } from './error-text.ts'
import type { Binaries } from './locate-binaries.ts'

/** `target` is the link to make, `source` the file that it stands for; both in the same folder. */
type Link = { source: string; target: string }

/**
 * Makes the links between PostgreSQL's libraries that the package's install script would have made:
 * npm cannot pack symlinks, and with `npm ci --ignore-scripts` nothing starts without them.
 */
export async function repairSymlinks(binaries: Binaries): Promise<void> {
  for (const link of await listedLinks(binaries.packageFolder)) {
    const target = join(binaries.packageFolder, link.target)
    // `stat` follows the link, so one that points nowhere counts as missing and fails below.
    if ((await unlessMissing(stat(target))) === undefined) await makeLink(binaries, link, target)
  }
}

async function listedLinks(packageFolder: string): Promise<Link[]> {
  const list = join(packageFolder, 'native', 'pg-symlinks.json')
  const text = await unlessMissing(readFile(list, 'utf8'))
  // The package's own file, in the format that its install script reads; Windows has none.
  return text === undefined ? [] : (JSON.parse(text) as Link[])
}

async function makeLink(binaries: Binaries, link: Link, target: string): Promise<void> {
  try {
    // Windows lets only administrators make symlinks; a copy serves as well.
    if (process.platform === 'win32') {
      await copyFile(join(binaries.packageFolder, link.source), target)
    } else {
      await symlink(basename(link.source), target)
    }
  } catch (error) {
    // Another launcher was faster.
    if (codeOf(error) === 'EEXIST' && (await unlessMissing(stat(target))) !== undefined) return
    throw new EmbeddedPostgresError(
      `PostgreSQL's library ${target} is missing, because the install scripts of ` +
        `${binaries.packageName} did not run, and it cannot be repaired here: ${messageOf(error)}. ` +
        `As a user who may write to node_modules, run "npm rebuild ${binaries.packageName}", ${WAY_OUT}.`,
      { cause: error },
    )
  }
}
