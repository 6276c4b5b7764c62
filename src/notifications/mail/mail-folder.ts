import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'

type Message = Parameters<ReturnType<typeof createTransport>['sendMail']>[0]

/**
 * Writes mails as `.eml` files, which every mail program opens, instead of sending them. A file has
 * its mail's name, so that a second try writes the same one.
 */
export function createMailFolder(
  folder: string,
): (name: string, message: Message) => Promise<void> {
  const transport = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  return async (name, message) => {
    const { message: bytes } = await transport.sendMail(message)
    if (!Buffer.isBuffer(bytes)) throw new Error('The mail was made as a stream')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const file = join(folder, `${name}.eml`)
    // Whoever looks into the folder sees whole mails only.
    await writeFile(`${file}.part`, bytes, { mode: 0o600 })
    await rename(`${file}.part`, file)
  }
}
