import { beforeAll, expect, it } from 'vitest'
import { createConference, createSponsor, unique } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'

const app = useTestApp()
const site = useSite(app)

let conference: Awaited<ReturnType<typeof createConference>>
beforeAll(async () => {
  conference = await createConference(app, { name: 'DevConf' })
})

async function invite(rights: Record<string, unknown>): Promise<string> {
  const email = `${unique('ada')}@example.org`
  const invited = await app.request('POST', `${conference.path}/users`, {
    body: { email, ...rights },
  })
  expect(invited).toMatchObject({ status: 201 })
  return email
}

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
