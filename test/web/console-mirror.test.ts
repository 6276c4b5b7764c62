import { beforeAll, expect, it } from 'vitest'
import { createConference, unique } from '../support/fixtures.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import {
  describeInBrowser,
  expectText,
  fitsWidth,
  PHONE,
  seriousBarriers,
  useSite,
} from './support/browser.ts'

const { app } = useAppOnStripe()
const site = useSite(app)

let conference: Awaited<ReturnType<typeof createConference>>
beforeAll(async () => {
  conference = await createConference(app)
})

describeInBrowser('the mirror of Stripe', () => {
  it.each([
    ['desktop', undefined],
    ['phone', PHONE],
  ])('is synced with one button, which starts one run, on a %s', async (size, viewport) => {
    const email = `${unique('staff')}@example.org`
    const body = { email, role: 'staff', scopes: ['stripe:sync'] }
    expect((await app.request('POST', `${conference.path}/users`, { body })).status).toBe(201)
    const resource = size === 'phone' ? 'refunds' : 'disputes'
    const path = `/console/${conference.slug}/stripe?resource=${resource}`
    const { page } = await site.visitAs(email, path, viewport)
    await expectText(page, 'The mirror has none. A sync fetches them from Stripe.')
    await expectText(page, 'No difference was found.')
    await page.getByRole('button', { name: `Sync ${resource}` }).dblclick()
    await page.getByText('The sync has begun.').waitFor()
    await page.getByRole('table', { name: 'Newest syncs' }).getByText('queued').first().waitFor()
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    const { body: runs } = await app.request<{ data: unknown[] }>(
      'GET',
      `${conference.path}/stripe/sync-runs?resource=${resource}`,
    )
    expect(runs.data).toHaveLength(1)
  })
})
