import { chown, rename, writeFile } from 'node:fs/promises'

/** Numeric ids of the user who owns the data folder on the host. */
export type FileOwner = { uid: number; gid: number }

/** Writes a 0600 file whole or not at all. As root it is given to `owner`. */
export async function writePrivateFile(
  path: string,
  content: string,
  owner: FileOwner | undefined,
): Promise<void> {
  const draft = `${path}.draft`
  await writeFile(draft, content, { mode: 0o600 })
  if (owner !== undefined) await chown(draft, owner.uid, owner.gid)
  await rename(draft, path)
}
