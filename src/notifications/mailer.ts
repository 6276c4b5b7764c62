import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'

export type MailSettings = Readonly<{
  /** null: no SMTP server. */
  smtpUrl: string | null
  /** Mails are written there instead of being sent. */
  folder: string | null
  from: string
  /** Mail addresses of the operators. */
  operators: readonly string[]
  /** Marks the subjects of every environment but the one that counts; null: not marked. */
  prefix: string | null
}>

export type Mail = {
  /** Names this mail for good: it makes its `Message-ID`, the same in every try. */
  name: string
  to: string | readonly string[]
  subject: string
  text: string
  attachments?: readonly { filename: string; contentType: string; content: Buffer }[]
}

/**
 * Sends a mail, or throws and may be asked again. No error names an address.
 *
 * @throws MailRefused when asking again would change nothing.
 */
export type Mailer = (mail: Mail) => Promise<void>

/** The server took neither this address nor ever will: a permanent answer, 5xx. */
export class PermanentMailError extends Error {
  override readonly name = 'MailRefused'
}

/** Every step of a connection by itself. Milliseconds. */
const TIMEOUT_MS = 20_000

/** What sends mails by these settings, or null where nothing is set up to. */
export function createMailer(settings: MailSettings): Mailer | null {
  const post = createSender(settings)
  if (post === null) return null
  const domain = /@([^\s>]+)>?\s*$/.exec(settings.from)?.[1] ?? 'localhost'
  const mark = settings.prefix === null ? '' : `[${settings.prefix}] `
  return async ({ name, to, subject, text, attachments = [] }) => {
    await post(name, {
      from: settings.from,
      to: typeof to === 'string' ? to : [...to],
      subject: `${mark}${subject}`,
      text,
      attachments: [...attachments],
      messageId: `<${name}@${domain}>`,
      // RFC 3834: no holiday notice shall answer it.
      headers: { 'auto-submitted': 'auto-generated' },
    })
  }
}

type Message = Parameters<ReturnType<typeof createTransport>['sendMail']>[0]
type Sender = (name: string, message: Message) => Promise<void>

function createSender({ smtpUrl, folder }: MailSettings): Sender | null {
  if (folder !== null) return createMailFolder(folder)
  if (smtpUrl === null) return null
  const transport = createTransport(
    {
      url: smtpUrl,
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
      dnsTimeout: TIMEOUT_MS,
    },
    // Nothing in a mail may make it read our files or call others.
    { disableFileAccess: true, disableUrlAccess: true },
  )
  return async (_, message) => {
    try {
      await transport.sendMail(message)
    } catch (error) {
      // Without the error itself, which lists the addresses.
      throw isPermanent(error)
        ? new PermanentMailError(redactedMessage(error))
        : new Error(redactedMessage(error))
    }
  }
}

/** What the server said. Most repeat the address, which is nobody's business in a log. */
function redactedMessage(error: unknown): string {
  const words = error instanceof Error ? error.message : 'The mail was not sent.'
  return words.replaceAll(/[^\s<>"',;:]+@[^\s<>"',;:]+/g, '…')
}

/** A wrong password is answered 5xx too, but that is ours to mend and no fault of the mail. */
function isPermanent(error: unknown): boolean {
  if (!(error instanceof Error) || !('responseCode' in error) || !('code' in error)) return false
  const isOfMail = error.code === 'EENVELOPE' || error.code === 'EMESSAGE'
  return isOfMail && typeof error.responseCode === 'number' && error.responseCode >= 500
}

/** `name` makes the mail's `Message-ID`. */
export type OperatorMail = { name: string; subject: string; text: string }

/**
 * Writes to the operators.
 *
 * @returns false where nobody is named, or nothing sends mails.
 * @throws MailRefused, or an Error when another try may succeed.
 */
export async function mailOperators(
  { mailer, operators }: { mailer: Mailer | null; operators: readonly string[] },
  mail: OperatorMail,
): Promise<boolean> {
  if (mailer === null || operators.length === 0) return false
  await mailer({ ...mail, to: operators })
  return true
}

/**
 * Writes mails as `.eml` files, which every mail program opens, instead of sending them. A file has
 * its mail's name, so that a second try writes the same one.
 */
function createMailFolder(folder: string): (name: string, message: Message) => Promise<void> {
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
