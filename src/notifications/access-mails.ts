import { createSignInLink, LINK_LIFETIME_MINUTES } from '../access/sign-in.ts'
import type { Db } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import { type Mailer, PermanentMailError } from './mailer.ts'

/** More would let a stranger fill somebody's mailbox. */
const MAX_LINKS_PER_ADDRESS = 5

export type SignInMailDeps = {
  db: Db
  /** Null: no mail server is configured. */
  mailer: Mailer | null
  webUrl: string
  logger: Logger
}

/** Mails a link: the `mail_sign_in` job. Does nothing for an address that no user has. */
export async function mailSignInLink(
  { db, mailer, webUrl, logger }: SignInMailDeps,
  { email, message }: { email: string; message: string },
): Promise<void> {
  if (mailer === null) {
    logger.warn(
      'a sign-in was requested, but no mail server is configured: set SMTP_URL, or use the command users:sign-in-link',
    )
    return
  }
  const link = await createSignInLink(db, email, webUrl, MAX_LINKS_PER_ADDRESS)
  if (link === null) return
  const text = [
    'Hello,',
    `with this link you sign in to sponsor-vouchers. It works once, for ${LINK_LIFETIME_MINUTES} minutes.`,
    link,
    'If you did not request it, ignore this mail. Only this link allows to sign in.',
  ]
  try {
    await mailer({
      name: message,
      to: email,
      subject: 'Your sign-in link',
      text: `${text.join('\n\n')}\n`,
    })
  } catch (error) {
    if (!(error instanceof PermanentMailError)) throw error
    logger.warn({ error: error.message }, 'the mail server permanently refused a sign-in mail')
  }
}

/** Mails a new user where to sign in: the `mail_invitation` job. */
export async function mailInvitation(
  { mailer, webUrl, logger }: Omit<SignInMailDeps, 'db'>,
  { email, to, message }: { email: string; to: string; message: string },
): Promise<void> {
  if (mailer === null) return
  const text = [
    'Hello,',
    `you can now use sponsor-vouchers for ${to}. Sign in with this e-mail address:`,
    `${webUrl.replace(/\/+$/, '')}/sign-in`,
  ]
  try {
    await mailer({
      name: message,
      to: email,
      subject: `Your access to ${to}`,
      text: `${text.join('\n\n')}\n`,
    })
  } catch (error) {
    if (!(error instanceof PermanentMailError)) throw error
    logger.warn({ error: error.message }, 'the mail server permanently refused an invitation')
  }
}
