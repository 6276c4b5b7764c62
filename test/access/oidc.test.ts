import { beforeAll, describe, expect, it } from 'vitest'
import { pageOfService } from '../../src/access/identity-provider-routes.ts'
import { signInWithProvider } from '../../src/access/sign-in.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { newId } from '../../src/shared/ids.ts'
import { createConference, createSponsor, unique } from '../support/fixtures.ts'
import { CLIENT, useIdentityProvider } from '../support/identity-provider.ts'
import {
  type Body,
  startTestProcess,
  TEST_ENCRYPTION_KEY,
  type TestProcess,
  useTestApp,
} from '../support/test-app.ts'

const WEB = 'http://vouchers.example'
const provider = useIdentityProvider(`${WEB}/sign-in/oidc/callback`)

const env: NodeJS.ProcessEnv = {
  PUBLIC_URL: WEB,
  TRUST_PROXY: 'true',
  OIDC_CLIENT_ID: CLIENT.id,
  OIDC_CLIENT_SECRET: CLIENT.secret,
  OIDC_NAME: 'Conference ID',
}
beforeAll(() => {
  env['OIDC_ISSUER'] = provider.issuer
})

const logged: string[] = []
const app = useTestApp({ env, log: { write: (line) => void logged.push(line) } })

let conference: Awaited<ReturnType<typeof createConference>>
beforeAll(async () => {
  conference = await createConference(app)
})

async function invite(body: Body, path = `${conference.path}/users`) {
  const email = `${unique('Person')}@example.org`
  const made = await app.request<{ id: string }>('POST', path, { body: { email, ...body } })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  return { email, id: made.body.id, account: provider.account({ email, email_verified: true }) }
}

const inviteStaff = () => invite({ role: 'staff', scopes: ['purchases:read'] })

/** A browser of one person: it keeps cookies and shows where it is sent. */
function browser(process: Pick<TestProcess, 'request'> = app) {
  const cookies = new Map<string, string>()
  // The limit of sign-ins is for an address, and these tests are many people.
  const address = unique('10.0.0.').replace('-', '')
  async function visit(path: string): Promise<string> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { cookie, 'x-forwarded-for': address, 'user-agent': 'A browser' }
    const { status, headers: sent } = await process.request('GET', path, { as: null, headers })
    for (const set of [sent['set-cookie'] ?? []].flat().map(String)) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? []
      if (value === '') cookies.delete(name)
      else cookies.set(name, value)
      sets.push(set)
    }
    return status === 302 ? String(sent['location']) : `status ${status}`
  }
  const sets: string[] = []
  /** Goes to the provider, signs in there, and comes back with its answer. */
  async function comeBack(account: string, path = '/sign-in/oidc'): Promise<string> {
    const { pathname, search } = await provider.answer(await visit(path), account)
    return `${pathname}${search}`
  }
  return {
    cookies,
    sets,
    visit,
    comeBack,
    signIn: async (account: string, path?: string) => visit(await comeBack(account, path)),
    me: () => {
      const cookie = `sv_session=${cookies.get('sv_session') ?? ''}`
      return process.request('GET', '/v1/me', { as: null, headers: { cookie } })
    },
  }
}

describe('signing in with the identity provider', () => {
  it('begins a session for staff, and leads to the page that they wanted', async () => {
    const { email, account } = await inviteStaff()
    const person = browser()
    const page = `/console/${conference.slug}?state=PAID`
    const there = await person.visit(`/sign-in/oidc?return=${encodeURIComponent(page)}`)
    expect(there.startsWith(`${provider.issuer}/auth?`)).toBe(true)
    expect(Object.fromEntries(new URL(there).searchParams)).toMatchObject({
      response_type: 'code',
      scope: 'openid email',
      redirect_uri: `${WEB}/sign-in/oidc/callback`,
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
    })
    expect(person.sets[0]).toMatch(/^sv_sign_in=.+; Path=\/; .*HttpOnly; SameSite=Lax$/)
    expect(person.sets[0]).not.toContain(new URL(there).searchParams.get('state'))
    const back = await provider.answer(there, account)
    expect(await person.visit(`${back.pathname}${back.search}`)).toBe(page)
    expect([...person.cookies.keys()]).toEqual(['sv_session'])
    expect(await person.me()).toMatchObject({ body: { email, access: [{ role: 'staff' }] } })
    const [session] = await app.rows('select * from sessions where email_key = lower($1)', [email])
    expect(session).toMatchObject({ method: 'oidc', user_agent: 'A browser' })
    expect(await browser().signIn(account)).toBe('/console')
  })

  it('is offered to the page by its name', async () => {
    expect(await app.request('GET', '/v1/sign-in', { as: null })).toMatchObject({
      status: 200,
      body: { oidc: { name: 'Conference ID', path: '/sign-in/oidc' } },
    })
  })

  it('is for operators, and for members of a sponsor only if they are staff too', async () => {
    const operator = await invite({}, '/v1/users')
    expect(await browser().signIn(operator.account)).toBe('/console')
    const sponsor = (await createSponsor(app, conference)).id
    const member = await invite({ role: 'sponsor', sponsor })
    expect(await browser().signIn(member.account)).toBe('/sign-in?error=no_access')
    const other = await createConference(app)
    await app.request('POST', `${other.path}/users`, {
      body: { email: member.email, role: 'staff', scopes: [] },
    })
    const person = browser()
    expect(await person.signIn(member.account)).toBe('/console')
    expect(await person.me()).toMatchObject({
      body: { access: [{ role: 'sponsor' }, { role: 'staff' }] },
    })
  })

  it('finds the user when the provider writes the address in another case', async () => {
    const { email } = await inviteStaff()
    const account = provider.account({ email: email.toUpperCase(), email_verified: true })
    expect(await browser().signIn(account)).toBe('/console')
  })

  it('refuses addresses without a user, also without one any more', async () => {
    const stranger = provider.account({ email: 'stranger@example.org', email_verified: true })
    const page = `/console/${conference.slug}`
    const person = browser()
    expect(await person.signIn(stranger, `/sign-in/oidc?return=${page}`)).toBe(
      `/sign-in?error=no_access&return=${encodeURIComponent(page)}`,
    )
    expect([...person.cookies]).toEqual([])
    const { id, account } = await inviteStaff()
    await app.request('DELETE', `${conference.path}/users/${id}`)
    expect(await browser().signIn(account)).toBe('/sign-in?error=no_access')
  })

  it('refuses an address that the provider has not verified', async () => {
    const { email } = await inviteStaff()
    for (const claims of [
      { email, email_verified: false },
      { email, email_verified: 'true' },
      { email },
      {},
      // In lower case, the Kelvin sign is the letter k.
      { email: '\u{212A}im@example.org', email_verified: true },
    ]) {
      const account = provider.account(claims)
      expect(await browser().signIn(account)).toBe('/sign-in?error=unverified')
    }
  })
})

describe('an attempt to sign in', () => {
  it('works once: a repeated answer of the provider begins no session', async () => {
    const { account, email } = await inviteStaff()
    const person = browser()
    const back = await person.comeBack(account)
    const cookie = person.cookies.get('sv_sign_in') ?? ''
    expect(await person.visit(back)).toBe('/console')
    expect(await person.visit(back)).toBe('/sign-in?error=expired')
    person.cookies.set('sv_sign_in', cookie)
    expect(await person.visit(back)).toBe('/sign-in?error=expired')
    const sessions = 'select id from sessions where email_key = lower($1)'
    expect(await app.rows(sessions, [email])).toHaveLength(1)
  })

  it('begins one session, also with a provider that takes a code twice', async () => {
    const { email } = await inviteStaff()
    const id = newId('session')
    const results = await Promise.allSettled(
      Array.from({ length: 4 }, () => signInWithProvider(app.db, email, id, 'A browser')),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(results.filter(({ status }) => status === 'rejected')).toContainEqual(
      expect.objectContaining({ reason: expect.objectContaining({ code: 'expired' }) }),
    )
  })

  it('belongs to the browser in which it began', async () => {
    const attacker = await inviteStaff()
    const theirs = await browser().comeBack(attacker.account)
    const victim = browser()
    expect(await victim.visit(theirs)).toBe('/sign-in?error=expired')
    await victim.visit('/sign-in/oidc')
    expect(await victim.visit(theirs)).toBe('/sign-in?error=expired')
    expect([...victim.cookies]).toEqual([])
  })

  it('refuses a code, a nonce or a key that are not of this attempt', async () => {
    const { account } = await inviteStaff()
    const codeOf = (path: string) => new URL(path, WEB).searchParams.get('code') ?? ''
    const person = browser()
    const stolen = codeOf(await browser().comeBack(account))
    const back = await person.comeBack(account)
    const injected = back.replace(codeOf(back), stolen)
    expect(await person.visit(injected)).toBe('/sign-in?error=expired')

    const there = new URL(await person.visit('/sign-in/oidc'))
    there.searchParams.set('nonce', 'of-another-attempt')
    const { pathname, search } = await provider.answer(there.href, account)
    expect(await person.visit(`${pathname}${search}`)).toBe('/sign-in?error=refused')

    provider.state = 'forged'
    const fresh = await startTestProcess(app.connectionString, { env })
    try {
      expect(await browser(fresh).signIn(account)).toBe('/sign-in?error=refused')
    } finally {
      provider.state = 'up'
      await fresh.close()
    }
  })

  it('is over after ten minutes, and when its cookie was changed', async () => {
    const { account } = await inviteStaff()
    const late = browser()
    const answer = await late.comeBack(account)
    const encryption = createEncryption(TEST_ENCRYPTION_KEY)
    const cookie = decodeURIComponent(late.cookies.get('sv_sign_in') ?? '')
    const attempt = JSON.parse(encryption.decrypt(cookie, 'sign-in-attempt')) as { until: number }
    expect(attempt.until - Date.now()).toBeLessThanOrEqual(600_000)
    const old = JSON.stringify({ ...attempt, until: Date.now() - 1 })
    late.cookies.set('sv_sign_in', encodeURIComponent(encryption.encrypt(old, 'sign-in-attempt')))
    expect(await late.visit(answer)).toBe('/sign-in?error=expired')

    const person = browser()
    const back = await person.comeBack(account)
    const sealed = decodeURIComponent(person.cookies.get('sv_sign_in') ?? '')
    const middle = Math.floor(sealed.length / 2)
    const other = sealed[middle] === 'A' ? 'B' : 'A'
    const changed = `${sealed.slice(0, middle)}${other}${sealed.slice(middle + 1)}`
    person.cookies.set('sv_sign_in', encodeURIComponent(changed))
    expect(await person.visit(back)).toBe('/sign-in?error=expired')
  })

  it('says that the provider refused, when it did', async () => {
    const person = browser()
    const there = new URL(await person.visit('/sign-in/oidc'))
    const query = new URLSearchParams({
      error: 'access_denied',
      error_description: 'a secret',
      state: there.searchParams.get('state') ?? '',
      iss: provider.issuer,
    })
    expect(await person.visit(`/sign-in/oidc/callback?${query.toString()}`)).toBe(
      '/sign-in?error=refused',
    )
  })

  it('says when the provider is down, and works when it is back', async () => {
    const { account } = await inviteStaff()
    provider.state = 'down'
    const fresh = await startTestProcess(app.connectionString, { env })
    try {
      const person = browser(fresh)
      expect(await person.visit('/sign-in/oidc?return=/console')).toBe(
        '/sign-in?error=unreachable&return=%2Fconsole',
      )
      provider.state = 'up'
      const back = await person.comeBack(account)
      provider.state = 'down'
      expect(await person.visit(back)).toBe('/sign-in?error=unreachable')
      provider.state = 'up'
      expect(await person.signIn(account)).toBe('/console')
    } finally {
      provider.state = 'up'
      await fresh.close()
    }
  })

  it('is limited like the other ways to sign in', async () => {
    const person = browser()
    const answers = []
    for (let count = 0; count < 21; count += 1) answers.push(await person.visit('/sign-in/oidc'))
    expect(answers.map((answer) => answer === 'status 429').indexOf(true)).toBe(20)
  })

  it('logs why it failed, without a code, a token or an address', async () => {
    const stranger = provider.account({ email: 'nosy@example.org', email_verified: true })
    const person = browser()
    const back = await person.comeBack(stranger)
    await person.visit(back)
    const all = logged.join('')
    expect(all).toContain('the address is not of staff or of an operator')
    expect(all).not.toContain('nosy@example.org')
    expect(all).not.toContain(new URL(back, WEB).searchParams.get('code'))
    expect(all).not.toContain('eyJ')
    expect(all).not.toContain('a secret')
  })
})

describe('the page after a sign-in', () => {
  it.each([
    ['/console', '/console'],
    ['/portal/conf?page=2', '/portal/conf?page=2'],
    ['/console/../portal/x', '/portal/x'],
    ['https://evil.example/console', null],
    ['//evil.example/console', null],
    ['/\\evil.example/console', null],
    ['/\t/evil.example/console', null],
    ['/console/..//evil.example', null],
    ['/console/../v1/me', null],
    ['/consoles', null],
    ['/sign-in/oidc', null],
    ['javascript:alert(1)//console', null],
    [`/console?${'x'.repeat(1_000)}`, null],
    [['/console'], null],
    [undefined, null],
  ])('of %j is %j', (wanted, page) => {
    expect(pageOfService(wanted)).toBe(page)
  })

  it('is the own one when a link leads away', async () => {
    const { account } = await inviteStaff()
    const path = `/sign-in/oidc?return=${encodeURIComponent('//evil.example/console')}`
    expect(await browser().signIn(account, path)).toBe('/console')
  })
})

describe('a service without an identity provider', () => {
  it('offers none, and has no such pages', async () => {
    const without = await startTestProcess(app.connectionString)
    try {
      expect(await without.request('GET', '/v1/sign-in', { as: null })).toMatchObject({
        body: { oidc: null },
      })
      expect(await browser(without).visit('/sign-in/oidc')).toBe('status 404')
    } finally {
      await without.close()
    }
  })
})
