import { createTransport } from 'nodemailer'
import { createMailFolder } from './mail-folder.ts'

export type MailSettings = Readonly<{
  /** null: no SMTP server. */
  smtpUrl: string | null
  /** Mails are written there instead of being sent. */
  folder: string | null
  from: string
  /** Who is told of trouble. */
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
export class MailRefused extends Error {
  override readonly name = 'MailRefused'
}

/** Every step of a connection by itself. Milliseconds. */
const TIMEOUT_MS = 20_000

/** What sends mails by these settings, or null where nothing is set up to. */
export function createMailer(settings: MailSettings): Mailer | null {
  const post = createPost(settings)
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
type Post = (name: string, message: Message) => Promise<void>

function createPost({ smtpUrl, folder }: MailSettings): Post | null {
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
      throw isPermanent(error) ? new MailRefused(wordsOf(error)) : new Error(wordsOf(error))
    }
  }
}

/** What the server said. Most repeat the address, which is nobody's business in a log. */
function wordsOf(error: unknown): string {
  const words = error instanceof Error ? error.message : 'The mail was not sent.'
  return words.replaceAll(/[^\s<>"',;:]+@[^\s<>"',;:]+/g, '…')
}

/** A wrong password is answered 5xx too, but that is ours to mend and no fault of the mail. */
function isPermanent(error: unknown): boolean {
  if (!(error instanceof Error) || !('responseCode' in error) || !('code' in error)) return false
  const isOfMail = error.code === 'EENVELOPE' || error.code === 'EMESSAGE'
  return isOfMail && typeof error.responseCode === 'number' && error.responseCode >= 500
}
