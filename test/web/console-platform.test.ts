import { beforeAll, expect, it } from 'vitest'
import { unique } from '../support/fixtures.ts'
import { newStripeKey } from '../support/shop.ts'
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

const olga = `${unique('olga')}@example.org`
beforeAll(async () => {
  await app.request('POST', '/v1/users', { body: { email: olga, name: 'Olga' } })
})

describeInBrowser('an operator', () => {
  it('opens a conference, and sets its limits and its Stripe key', async () => {
    const { page } = await site.visitAs(olga, '/console')
    await expectText(page, 'There is no conference yet.')
    await page.getByRole('button', { name: 'New conference' }).click()
    const form = page.getByRole('dialog')
    await form.getByLabel('Name', { exact: true }).fill('Über Conf 2027!')
    expect(await form.getByLabel('Name in addresses').inputValue()).toBe('uber-conf-2027')
    await form.getByLabel('Currency').fill('EURO')
    await form.getByRole('button', { name: 'Create' }).click()
    await form.getByText(/^Currency must/).waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    await form.getByLabel('Currency').fill('EUR')
    await form.getByRole('button', { name: 'Create' }).dblclick()
    await page.waitForURL(/\/console\/uber-conf-2027\/settings$/)
    await page.getByRole('button', { name: 'Add the key' }).click()
    await form.getByLabel('Secret or restricted key').fill(newStripeKey())
    await form.getByRole('button', { name: 'Save' }).click()
    await expectText(page, 'test mode: no real money')
    await page.getByLabel('Codes in one purchase, at most').fill('2000')
    await page.getByText('Stripe makes an invoice for each payment').click()
    await page.getByRole('button', { name: 'Save the limits' }).click()
    await page.getByText('The settings were saved.').waitFor()
    const { body } = await app.request('GET', '/v1/conferences/uber-conf-2027')
    expect(body).toMatchObject({
      name: 'Über Conf 2027!',
      max_quantity: 2_000,
      invoice_creation: true,
      tax_id_collection: false,
      livemode: false,
    })
    const { body: conferences } = await app.request<{ data: unknown[] }>('GET', '/v1/conferences')
    expect(conferences.data).toHaveLength(1)
    await page.getByRole('link', { name: 'All conferences' }).click()
    await page
      .getByRole('row', { name: /Über Conf 2027!/ })
      .getByText('Test')
      .waitFor()
  })

  it('invites another operator, who sees every conference, and removes the person', async () => {
    const { page } = await site.visitAs(olga, '/console', PHONE)
    await page.getByRole('button', { name: 'Invite an operator' }).click()
    const form = page.getByRole('dialog')
    await form.getByLabel('E-mail address').fill('oscar@example.org')
    expect(await seriousBarriers(page)).toEqual([])
    await form.getByRole('button', { name: 'Invite' }).dblclick()
    await page.getByRole('button', { name: 'Remove oscar@example.org' }).waitFor()
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    const oscar = await site.visitAs('oscar@example.org', '/console')
    await oscar.page.getByRole('heading', { name: 'Conferences' }).waitFor()
    await page.getByRole('button', { name: 'Remove oscar@example.org' }).click()
    await form.getByRole('button', { name: 'Remove' }).click()
    await page.getByText('oscar@example.org was removed.').waitFor()
    await oscar.page.reload()
    await oscar.page.waitForURL(/sign-in/)
  })
})
