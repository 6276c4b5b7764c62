import { expect, it } from 'vitest'
import { createSponsor } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'
import { useConference } from './support/conference.ts'

const app = useTestApp()
const site = useSite(app)

const { conference, invite: inviteWith, inviteStaff } = useConference(app)

const invite = async (role: 'staff' | 'sponsor') =>
  role === 'staff'
    ? inviteStaff(['purchases:read'])
    : inviteWith({ role, sponsor: (await createSponsor(app, conference)).id })

describeInBrowser('signing in', () => {
  it.each([
    ['desktop', undefined],
    ['phone', PHONE],
  ])('asks for the address and says the same for everybody, on a %s', async (_size, viewport) => {
    const { page } = await site.visit(viewport)
    await page.goto('/')
    await page.getByLabel('E-mail address').fill('stranger@example.org')
    await page.keyboard.press('Enter')
    await expectText(page, 'If stranger@example.org may sign in, a link is on its way.')
    expect(await seriousBarriers(page)).toEqual([])
    expect(await fitsWidth(page)).toBe(true)
  })

  it('leads staff to their console and members of a sponsor to their portal', async () => {
    const staff = await site.visitAs(await invite('staff'), `/console/${conference.slug}`)
    await staff.page.getByRole('heading', { name: 'Purchases' }).waitFor()
    expect(await seriousBarriers(staff.page)).toEqual([])
    const sponsor = await site.visitAs(await invite('sponsor'), `/portal/${conference.slug}`)
    await sponsor.page.getByRole('heading', { name: 'Your vouchers' }).waitFor()
    expect(await seriousBarriers(sponsor.page)).toEqual([])
    expect(await fitsWidth(sponsor.page)).toBe(true)
  })

  it('comes back to the page that was wanted, and ends with "Sign out"', async () => {
    const email = await invite('staff')
    const { page } = await site.visitAs(email, `/console/${conference.slug}`)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('E-mail address').waitFor()
    await page.goto(`/console/${conference.slug}?status=PAID`)
    await page.waitForURL(/\/sign-in\?return=/)
    expect(new URL(page.url()).searchParams.get('return')).toBe(
      `/console/${conference.slug}?status=PAID`,
    )
  })

  it('says that a used link does not work, and offers another one', async () => {
    const { page } = await site.visit()
    await page.goto(`/sign-in#token=${'a'.repeat(21)}_${'b'.repeat(40)}`)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await expectText(page, 'This link was used already, or is older than 15 minutes.')
    await page.getByRole('button', { name: 'Send the link' }).waitFor()
  })

  it('says why a sign-in with the identity provider failed', async () => {
    const { page } = await site.visit()
    await page.goto('/sign-in?error=no_access')
    await expectText(page, 'This address has no access as staff.')
    await page.getByRole('button', { name: 'Send the link' }).waitFor()
    expect(await seriousBarriers(page)).toEqual([])
  })
})
