import type { Mailer } from './mailer.ts'

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
