import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createMailer, PermanentMailError } from '../../src/notifications/mailer.ts'
import { startMailServer } from './mail-server.ts'

const SETTINGS = {
  smtpUrl: null,
  folder: null,
  from: 'Tickets <tickets@conf.example>',
  operators: [],
  prefix: null,
}

const MAIL = {
  name: 'mail_1',
  to: 'ann@acme.example',
  subject: 'Your codes are ready',
  text: 'Dear Acme,\n\nhere they are.\n',
  attachments: [
    {
      filename: 'codes.csv',
      contentType: 'text/csv; charset=utf-8',
      content: Buffer.from('a,b\n'),
    },
  ],
}

const nextError = async (sent: Promise<void> | undefined): Promise<unknown> =>
  sent?.then(
    () => null,
    (error: unknown) => error,
  )

describe('a mail', () => {
  it('reaches the server with its attachment and the Message-ID of its name', async () => {
    const server = await startMailServer()
    const mailer = createMailer({ ...SETTINGS, smtpUrl: server.url, prefix: 'staging' })
    await mailer?.(MAIL)
    await mailer?.(MAIL)
    const [first, second] = server.mails
    expect(first).toMatchObject({ from: 'tickets@conf.example', to: ['ann@acme.example'] })
    expect(first?.header('Message-ID')).toBe('<mail_1@conf.example>')
    expect(second?.header('Message-ID')).toBe('<mail_1@conf.example>')
    expect(first?.header('Subject')).toBe('[staging] Your codes are ready')
    expect(first?.header('Auto-Submitted')).toBe('auto-generated')
    expect(first?.attachment('text/csv')).toBe('a,b\n')
  })

  it('allows no header injection through a name', async () => {
    const server = await startMailServer()
    const mailer = createMailer({ ...SETTINGS, smtpUrl: server.url })
    await mailer?.({ ...MAIL, subject: 'Acme\r\nBcc: eve@evil.example' })
    expect(server.mails[0]?.to).toEqual(['ann@acme.example'])
    expect(server.mails[0]?.header('Bcc')).toBeUndefined()
  })

  it.each(['recipient', 'message'] as const)(
    'with a permanently refused %s is not retried, a postponed one is',
    async (at) => {
      const server = await startMailServer()
      const mailer = createMailer({ ...SETTINGS, smtpUrl: server.url })
      server.meetWith({ at, code: 550 }, { at, code: 451 })
      const never = await nextError(mailer?.(MAIL))
      expect(never).toBeInstanceOf(PermanentMailError)
      const later = await nextError(mailer?.(MAIL))
      for (const error of [never, later]) {
        expect(String(error)).toContain('not this one')
        expect(inspect(error, { depth: 5 })).not.toContain('acme.example')
      }
      expect(later).toBeInstanceOf(Error)
      expect(later).not.toBeInstanceOf(PermanentMailError)
      await mailer?.(MAIL)
      expect(server.mails).toHaveLength(1)
    },
  )

  it('is retried when the server cannot be reached or refuses the login', async () => {
    const nobody = createMailer({ ...SETTINGS, smtpUrl: 'smtp://127.0.0.1:9' })
    const error = await nextError(nobody?.(MAIL))
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(PermanentMailError)
    const server = await startMailServer()
    const wrong = createMailer({
      ...SETTINGS,
      smtpUrl: server.url.replace('//', '//user:wrong@'),
    })
    expect(await nextError(wrong?.(MAIL))).not.toBeInstanceOf(PermanentMailError)
    expect(server.mails).toEqual([])
  })

  it('is written to a folder instead, once for all attempts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mails-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const mailer = createMailer({ ...SETTINGS, folder: join(folder, 'out') })
    await mailer?.(MAIL)
    await mailer?.(MAIL)
    expect(await readdir(join(folder, 'out'))).toEqual(['mail_1.eml'])
    const text = await readFile(join(folder, 'out', 'mail_1.eml'), 'utf8')
    expect(text).toContain('Message-ID: <mail_1@conf.example>\r\n')
    expect(text).toContain('To: ann@acme.example\r\n')
  })

  it('is not sent without mail settings', () => {
    expect(createMailer(SETTINGS)).toBeNull()
  })
})
