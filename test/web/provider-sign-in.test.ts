import { beforeAll, expect, it } from 'vitest'
import { createConference, unique } from '../support/fixtures.ts'
import { CLIENT, useIdentityProvider } from '../support/identity-provider.ts'
import { useTestApp } from '../support/test-app.ts'
import {
  describeInBrowser,
  expectText,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'

// The provider sends the browser back to the address that is registered there. Browsers trust this one like https.
const WEB = 'http://vouchers.localhost'
const provider = useIdentityProvider(`${WEB}/sign-in/oidc/callback`)

const env: NodeJS.ProcessEnv = {
  PUBLIC_URL: WEB,
  OIDC_CLIENT_ID: CLIENT.id,
  OIDC_CLIENT_SECRET: CLIENT.secret,
  OIDC_NAME: 'Conference ID',
}
beforeAll(() => {
  env['OIDC_ISSUER'] = provider.issuer
})

const app = useTestApp({ env })
const site = useSite(app, WEB)

let conference: Awaited<ReturnType<typeof createConference>>
beforeAll(async () => {
  conference = await createConference(app)
})

/** A person with this account at the provider, on the sign-in page. */
async function visit(account: string, path: string, viewport?: typeof PHONE) {
  const { page } = await site.visit(viewport)
  // The provider asks for no password.
  await page.setExtraHTTPHeaders({ 'x-account': account })
  await page.goto(path)
  return page
}

describeInBrowser('the button of the identity provider', () => {
  it('signs staff in, and comes back to the page that they wanted', async () => {
    const email = `${unique('grace')}@example.org`
    const body = { email, role: 'staff', scopes: ['purchases:read'] }
    expect((await app.request('POST', `${conference.path}/users`, { body })).status).toBe(201)
    const account = provider.account({ email, email_verified: true })
    const wanted = `/console/${conference.slug}/purchases?status=PAID`
    const page = await visit(account, wanted, PHONE)
    await page.waitForURL(/\/sign-in\?return=/)
    const button = page.getByRole('link', { name: 'Sign in with Conference ID' })
    await button.waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    await button.click()
    await page.waitForURL(`${WEB}${wanted}`)
    await page.getByRole('heading', { name: 'Purchases' }).waitFor()
    expect((await page.context().cookies(WEB)).map(({ name }) => name)).toContain('sv_session')
  })

  it('says why the provider does not let somebody in', async () => {
    const account = provider.account({ email: 'stranger@example.org', email_verified: true })
    const page = await visit(account, '/sign-in')
    await page.getByRole('link', { name: 'Sign in with Conference ID' }).click()
    await expectText(page, 'This address has no access as staff.')
    await page.getByRole('button', { name: 'Send the link' }).waitFor()
  })
})
