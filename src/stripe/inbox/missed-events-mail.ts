/** Beyond it ids tell nobody anything. */
const MOST_IDS = 20

/** What Stripe had and we had not, of one conference. */
export type MissedOf = { slug: string; missing: readonly string[] }

/** Tells the operators that Stripe's events do not arrive. */
export function missedEventsMail(
  conferences: readonly MissedOf[],
  stored: boolean,
): { subject: string; text: string } {
  const total = conferences.reduce((sum, { missing }) => sum + missing.length, 0)
  const lines = conferences.flatMap(({ slug, missing }) => [
    `${slug}: ${missing.length}`,
    ...missing.slice(0, MOST_IDS).map((id) => `  ${id}`),
    ...(missing.length > MOST_IDS ? [`  and ${missing.length - MOST_IDS} more`] : []),
  ])
  const fate = stored
    ? 'They are in the inbox now and are worked on.'
    : 'They were only counted: `webhooks:check` without --report-only takes them in.'
  return {
    subject: `${total} of Stripe's events never came by webhook`,
    text: [
      `Stripe has ${total} events that should have come by webhook and did not.`,
      fate,
      `Check the endpoint in Stripe's dashboard (is it enabled, and does it answer 200?), and whether the signing secret is the present one.`,
      lines.join('\n'),
      '',
    ].join('\n\n'),
  }
}
