import { expect, it } from 'vitest'
import { createSponsor } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  holdBack,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'
import { useConference } from './support/conference.ts'

const app = useTestApp()
const site = useSite(app)

const { conference, invite } = useConference(app, { name: 'DevConf' })

describeInBrowser('the frame of the pages', () => {
  it('shows on a phone which page is open, also at the end of the navigation', async () => {
    const email = await invite({
      role: 'staff',
      scopes: ['purchases:read', 'vouchers:read', 'keys:write', 'settings:write', 'stripe:sync'],
    })
    const { page } = await site.visitAs(email, `/console/${conference.slug}/settings`, PHONE)
    const current = page.locator('nav [aria-current=page]')
    await expect.poll(() => current.textContent()).toBe('Settings')
    const isVisible = async () => {
      const { x = -1, width = 0 } = (await current.boundingBox()) ?? {}
      return x >= 0 && x + width <= PHONE.width
    }
    await expect.poll(isVisible).toBe(true)
    await page.getByRole('link', { name: 'Purchases' }).click()
    await page.getByRole('heading', { name: 'Purchases' }).waitFor()
    expect(await current.textContent()).toBe('Purchases')
    await expect.poll(isVisible).toBe(true)
  })

  it('leads somebody who opened a page of others to their own', async () => {
    const sponsor = await createSponsor(app, conference, { name: 'Acme' })
    const email = await invite({ role: 'sponsor', sponsor: sponsor.id })
    const { page } = await site.visitAs(email, `/console/${conference.slug}`, PHONE)
    await expectText(page, 'You are not staff of this conference.')
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('link', { name: 'The vouchers of Acme at DevConf' }).click()
    await page.getByRole('heading', { name: 'Your vouchers' }).waitFor()
    const { page: other } = await site.visitAs(
      await invite({ role: 'staff', scopes: ['purchases:read'] }),
      `/portal/${conference.slug}`,
    )
    await expectText(other, 'You are not a member of a sponsor.')
    await other.getByRole('link', { name: 'The console of DevConf' }).click()
    await other.getByRole('heading', { name: 'Purchases' }).waitFor()
  })
})

describeInBrowser('a page on a bad connection', () => {
  /** A purchase, and a person of staff on its page. */
  async function openPurchase() {
    const email = await invite({ role: 'staff', scopes: ['purchases:read', 'purchases:write'] })
    const { body } = await app.request<{ id: string }>('POST', `${conference.path}/purchases`, {
      body: { description: 'Booth', unit_amount: 5_000, quantity: 2 },
    })
    const path = `${conference.path}/purchases/${body.id}`
    const { page } = await site.visitAs(
      email,
      `/console/${conference.slug}/purchases/${body.id}`,
      PHONE,
    )
    await page.getByLabel('Note for your colleagues').fill('They call back on Monday')
    const notes = async () => {
      const { body: history } = await app.request<{ data: { event: string }[] }>(
        'GET',
        `${path}/transitions`,
      )
      return history.data.filter(({ event }) => event === 'NOTE_ADDED').length
    }
    return { page, notes }
  }

  it('shows that it loads, and does nothing twice while an answer is slow', async () => {
    const { page, notes } = await openPurchase()
    const release = await holdBack(page, '**/v1/**')
    await page.getByRole('button', { name: 'Add', exact: true }).dblclick()
    await page.getByRole('button', { name: 'Add', exact: true }).click({ force: true })
    await page.getByRole('link', { name: 'Purchases' }).click()
    await page.getByRole('heading', { name: 'Purchases' }).waitFor()
    await page.getByRole('main').getByText('Loading…').first().waitFor({ state: 'attached' })
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    release()
    await page.getByRole('row', { name: /Booth/ }).waitFor()
    await expect.poll(notes).toBe(1)
  })

  it('says that it is offline, and saves once when the connection is back', async () => {
    const { page, notes } = await openPurchase()
    await page.context().setOffline(true)
    await page.getByText('You are offline.').waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('button', { name: 'Add', exact: true }).dblclick()
    await page.getByRole('heading', { name: 'Booth' }).waitFor()
    expect(await notes()).toBe(0)
    await page.context().setOffline(false)
    await page.getByText('You are offline.').waitFor({ state: 'detached' })
    await expectText(page, 'They call back on Monday')
    expect(await notes()).toBe(1)
  })

  it('says so when somebody is not signed out', async () => {
    const { page } = await openPurchase()
    await page.route('**/v1/sessions/current', (route) => route.abort())
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByText(/^You are still signed in\./).waitFor()
    expect(new URL(page.url()).pathname).toMatch(/^\/console\//)
    await page.unroute('**/v1/sessions/current')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.waitForURL(/\/sign-in/)
  })

  it('goes to the sign-in when the session has ended before "Sign out"', async () => {
    const { page } = await openPurchase()
    await page.evaluate(() => fetch('/v1/sessions/current', { method: 'DELETE' }))
    // Resolved when the page says it, rejected when the page is left.
    const said = page
      .evaluate<string>(
        `new Promise((resolve) => setInterval(() => {
          if (document.body.innerText.includes('still signed in')) resolve('still signed in')
        }))`,
      )
      .catch(() => 'left')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.waitForURL(/\/sign-in/)
    expect(await said).toBe('left')
  })

  it('says what failed, and loads it when somebody tries again', async () => {
    const { page } = await openPurchase()
    await page.route('**/purchases?**', (route) =>
      route.fulfill({ status: 502, body: 'Bad gateway' }),
    )
    await page.getByRole('link', { name: 'Purchases' }).click()
    await expectText(page, 'The service answered with status 502. Try again in a minute.')
    expect(await seriousBarriers(page)).toEqual([])
    await page.unroute('**/purchases?**')
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.getByRole('row', { name: /Booth/ }).first().waitFor()
  })
})
