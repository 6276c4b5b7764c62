import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { unlessMissing } from './error-text.ts'
import { type FileOwner, writePrivateFile } from './private-file.ts'

/** Random passwords of the superuser and of the service's ordinary role. Letters, digits, - and _. */
export type Passwords = { admin: string; application: string }

/** The passwords kept in the file; made, and written with mode 0600, when there are none. */
export async function loadPasswords(path: string, owner?: FileOwner): Promise<Passwords> {
  const kept = parse((await unlessMissing(readFile(path, 'utf8'))) ?? '')
  if (kept !== undefined) return kept
  const fresh = { admin: secret(), application: secret() }
  await writePrivateFile(path, `${JSON.stringify(fresh, null, 2)}\n`, owner)
  return fresh
}

// base64url needs no quoting, neither in SQL nor in a URL.
function secret(): string {
  return randomBytes(24).toString('base64url')
}

// A file that somebody emptied or edited is replaced; the launcher then resets the superuser's
// password from the data folder, so nothing is lost.
function parse(text: string): Passwords | undefined {
  try {
    // Ours; every field is checked below.
    const { admin, application } = JSON.parse(text) as Partial<Passwords>
    const usable = [admin, application].every((word) => /^[\w-]{16,}$/.test(word ?? ''))
    return usable && admin && application ? { admin, application } : undefined
  } catch {
    return undefined
  }
}
