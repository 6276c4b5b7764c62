import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scene } from './scene.ts'

const EVERY_MS = 40
// As long as for a purchase: it is written by a job.
const PATIENCE_MS = 15_000

/** Waits for the mail about a purchase with this subject, and shows where it was written. */
export async function showMail(
  { narrator, mailFolder, signal }: Scene,
  purchase: string,
  subject: string,
): Promise<void> {
  const until = performance.now() + PATIENCE_MS
  let file = await findMail(mailFolder, purchase, subject)
  while (file === undefined && performance.now() < until) {
    await sleep(EVERY_MS, undefined, { signal })
    file = await findMail(mailFolder, purchase, subject)
  }
  narrator.check('a mail to the sponsor', file === undefined ? null : subject, subject)
  narrator.note(relative(process.cwd(), file ?? ''))
}

async function findMail(
  folder: string,
  purchase: string,
  subject: string,
): Promise<string | undefined> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names.filter((name) => name.endsWith('.eml'))) {
    const text = await readFile(join(folder, name), 'utf8')
    if (text.includes(`Subject: ${subject}\r\n`) && text.includes(purchase)) {
      return join(folder, name)
    }
  }
  return undefined
}
