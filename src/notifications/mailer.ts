import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'

export type MailSettings = Readonly<{
  /** null: no SMTP server. */
  smtpUrl: string | null
  /** Mails are written to this folder instead of sent. */
  folder: string | null
  from: string
  /** Mail addresses of the operators. */
  operators: readonly string[]
  /** Marks the subjects in all environments except production. null: no mark. */
  prefix: string | null
}>

export type Mail = {
  /** Identifies the mail: its `Message-ID` is derived from it and is the same in every attempt. */
  name: string
  to: string | readonly string[]
  subject: string
  text: string
  attachments?: readonly { filename: string; contentType: string; content: Buffer }[]
}

/**
 * Sends a mail. If it throws, the caller may retry. Errors contain no mail address.
 *
 * @throws PermanentMailError when a retry would not help.
 */
export type Mailer = (mail: Mail) => Promise<void>

/** The mail server refused the mail permanently (5xx). */
export class PermanentMailError extends Error {
  override readonly name = 'MailRefused'
}

/** The timeout of each step of a connection. */
const TIMEOUT_MS = 20_000

/** Creates the mailer of these settings, or null if they set up none. */
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
      // RFC 3834: automatic replies must not answer it.
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
    // The content of a mail must not make nodemailer read files or call URLs.
    { disableFileAccess: true, disableUrlAccess: true },
  )
  return async (_, message) => {
    try {
      await transport.sendMail(message)
    } catch (error) {
      // Without the error as its cause, because that contains the addresses.
      throw isPermanent(error)
        ? new PermanentMailError(redactedMessage(error))
        : new Error(redactedMessage(error))
    }
  }
}

/** The server's message without mail addresses, which must not be logged. */
function redactedMessage(error: unknown): string {
  const words = error instanceof Error ? error.message : 'The mail was not sent.'
  return words.replaceAll(/[^\s<>"',;:]+@[^\s<>"',;:]+/g, '…')
}

/** A wrong password is answered with 5xx too, but then the operator can repair the settings. */
function isPermanent(error: unknown): boolean {
  if (!(error instanceof Error) || !('responseCode' in error) || !('code' in error)) return false
  const isOfMail = error.code === 'EENVELOPE' || error.code === 'EMESSAGE'
  return isOfMail && typeof error.responseCode === 'number' && error.responseCode >= 500
}

/** The `Message-ID` of the mail is derived from `name`. */
export type OperatorMail = { name: string; subject: string; text: string }

/**
 * Sends a mail to the operators.
 *
 * @returns false without operators or without a mailer.
 * @throws PermanentMailError, or another Error when a retry may succeed.
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
 * Writes mails as `.eml` files, which mail programs can open, instead of sending them. The file has the
 * name of the mail, so that a retry writes the same file.
 */
function createMailFolder(folder: string): (name: string, message: Message) => Promise<void> {
  const transport = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  return async (name, message) => {
    const { message: bytes } = await transport.sendMail(message)
    if (!Buffer.isBuffer(bytes)) throw new Error('nodemailer returned a stream instead of a buffer')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const file = join(folder, `${name}.eml`)
    // Renamed at the end, so that the folder contains only complete mails.
    await writeFile(`${file}.part`, bytes, { mode: 0o600 })
    await rename(`${file}.part`, file)
  }
}
