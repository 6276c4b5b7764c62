import { text } from 'node:stream/consumers'
import { SMTPServer } from 'smtp-server'
import { onTestFinished } from 'vitest'

export type ReceivedMail = {
  from: string
  to: string[]
  raw: string
  /** The headers of the mail itself, unfolded; the last one of each name. */
  header(name: string): string | undefined
  /** The text of an attachment. */
  attachment(contentType: string): string | undefined
}

/**
 * `lost`: it accepts the mail, but the connection breaks before the response. `silent`: it accepts the mail
 * and never responds.
 */
type MailAnswer = { at: 'recipient' | 'message'; code: number } | 'lost' | 'silent'

export type MailServer = {
  url: string
  mails: ReceivedMail[]
  /** The behaviour for the next mails. After that, it accepts mails. */
  meetWith(...answers: MailAnswer[]): void
}

/** Like real servers, with the address in the message. */
function refusal(code: number): Error {
  return Object.assign(new Error('not this one: <team@acme.example>'), { responseCode: code })
}

function parse(from: string, to: string[], raw: string): ReceivedMail {
  const head = raw.slice(0, raw.indexOf('\r\n\r\n')).replaceAll(/\r\n\s+/g, ' ')
  return {
    from,
    to,
    raw,
    header: (name) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1],
    attachment(contentType) {
      const part = raw.split(/\r\n--[^\r]*\r\n/).find((piece) => piece.includes(contentType))
      const body = part?.slice(part.indexOf('\r\n\r\n')).split('\r\n--')[0]
      return body === undefined ? undefined : Buffer.from(body, 'base64').toString('utf8')
    },
  }
}

/** A real mail server on loopback, without TLS, closed when the test ends. */
export async function startMailServer(): Promise<MailServer> {
  const mails: ReceivedMail[] = []
  const answers: MailAnswer[] = []
  const next = (at: 'recipient' | 'message') => {
    const [answer] = answers
    if (typeof answer !== 'object' || answer.at !== at) return null
    answers.shift()
    return refusal(answer.code)
  }
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onRcptTo: (_address, _session, done) => done(next('recipient')),
    onData(stream, session, done) {
      void text(stream).then((raw) => {
        const refused = next('message')
        if (refused !== null) return done(refused)
        const { mailFrom, rcptTo } = session.envelope
        const from = mailFrom === false ? '' : mailFrom.address
        mails.push(
          parse(
            from,
            rcptTo.map(({ address }) => address),
            raw,
          ),
        )
        const fate = typeof answers[0] === 'string' ? answers.shift() : undefined
        if (fate === undefined) done()
        if (fate === 'lost') for (const connection of server.connections) connection.close()
      })
    },
  })
  // Some tests break connections on purpose.
  server.on('error', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())))
  const address = server.server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `smtp://127.0.0.1:${address.port}`,
    mails,
    meetWith: (...more) => answers.push(...more),
  }
}
