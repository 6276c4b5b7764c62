import { expect, it } from 'vitest'
import { createSponsor, unique } from '../support/fixtures.ts'
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

const { conference, inviteStaff: invite } = useConference(app)

async function list(path: string) {
  const { body } = await app.request<{ data: Record<string, unknown>[] }>(
    'GET',
    `${conference.path}/${path}`,
  )
  return body.data
}

describeInBrowser('staff who prepare a conference', () => {
  it('add a level and a sponsor, which gets the codes of its level', async () => {
    const email = await invite(['catalog:write'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/sponsors`)
    await page.getByRole('button', { name: 'Add a level' }).click()
    await page.getByLabel('Name', { exact: true }).fill('Gold')
    await page.getByLabel('Complimentary codes').fill('3')
    await page.keyboard.press('Enter')
    await page.getByRole('cell', { name: 'Gold', exact: true }).waitFor()
    // With the keyboard only.
    await page.getByRole('button', { name: 'Add a sponsor' }).press('Enter')
    await page.keyboard.type('Globex')
    await page.keyboard.press('Tab')
    await page.keyboard.type('codes@globex.example')
    await page.getByRole('button', { name: 'No level Level' }).press('Enter')
    await page.getByRole('option', { name: 'Gold' }).press('Enter')
    await expectDialogText(page, 'Issues 3 complimentary codes when you save.')
    await page.getByRole('button', { name: 'Save' }).press('Enter')
    await page.getByRole('cell', { name: 'Globex', exact: true }).waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    expect(await list('sponsors?q=globex')).toMatchObject([
      { name: 'Globex', contact_email: 'codes@globex.example' },
    ])
    expect(await list('vouchers?limit=100')).toHaveLength(3)
  })

  it('give Acme five free tickets in three clicks from the first screen', async () => {
    await createSponsor(app, conference, { name: 'Acme' })
    const email = await invite(['purchases:read', 'vouchers:read', 'vouchers:write'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}`)
    await page.getByRole('link', { name: 'Sponsors' }).click()
    await page.getByRole('button', { name: 'Issue codes to Acme' }).click()
    await page.getByRole('button', { name: 'Issue', exact: true }).click()
    const codes = page.getByRole('textbox', { name: 'The codes' })
    await codes.waitFor()
    expect((await codes.inputValue()).split('\n')).toHaveLength(5)
    const [batch] = await list('voucher-batches?limit=1')
    expect(batch).toMatchObject({ source: 'staff', voucher_type: 'comp', count: 5 })
    expect(await seriousBarriers(page)).toEqual([])
  })

  it('add a ticket type with its price, and change it, on a phone', async () => {
    const email = await invite(['catalog:write'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/catalogue`, PHONE)
    await page.getByRole('button', { name: 'Add a ticket type' }).click()
    await page.getByLabel('Name', { exact: true }).fill('Workshop day')
    await page.getByLabel('Price of one code (EUR)').fill('249.50')
    await page.getByRole('button', { name: /^Free Kind/ }).click()
    await page.getByRole('option', { name: 'Percent off' }).click()
    await page.getByRole('textbox', { name: 'Percent off' }).fill('50')
    await page.getByText('Unlocks tickets that the shop hides').click()
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('button', { name: 'Save' }).dblclick()
    await expectText(page, '€249.50')
    await expectText(page, '50 % off, once')
    expect(await fitsWidth(page)).toBe(true)
    const [made] = await list('ticket-types')
    expect(made).toMatchObject({
      voucher_defaults: { discount_value: 50, unlocks_hidden_tickets: true },
    })
    const until = '2099-12-31T22:59:59.000Z'
    const terms = { voucher_type: 'percentage', discount_value: 50, valid_until: until }
    await app.request('PATCH', `${conference.path}/ticket-types/${String(made?.['id'])}`, {
      body: { active_until: until, voucher_defaults: terms },
    })
    await page.reload()
    await page.getByRole('button', { name: 'Edit Workshop day' }).click()
    await page.getByLabel('Price of one code (EUR)').fill('199')
    await page.getByRole('button', { name: 'Save' }).click()
    await expectText(page, '€199.00')
    expect(await list('ticket-types')).toMatchObject([
      {
        name: 'Workshop day',
        price: 19_900,
        // To the second, which the form does not show.
        active_until: until,
        voucher_defaults: terms,
      },
    ])
    expect(await seriousBarriers(page)).toEqual([])
  })
})

describeInBrowser('staff who manage users and keys', () => {
  it('invite a colleague, change what the person may do, and remove the person', async () => {
    const email = await invite(['keys:write', 'vouchers:redeem'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/people`)
    await page.getByRole('button', { name: 'Invite a person' }).click()
    await page.getByLabel('E-mail address').fill('dora@example.org')
    // Nobody can grant what they lack.
    expect(await page.getByRole('checkbox', { name: /^Refund/ }).isDisabled()).toBe(true)
    await page.getByRole('dialog').getByText('Redeem at the door').click()
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('button', { name: 'Invite', exact: true }).dblclick()
    await page.getByRole('button', { name: 'Change dora@example.org' }).click()
    await page.getByRole('dialog').getByText('Redeem at the door').click()
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('row', { name: /dora@example.org Nothing yet/ }).waitFor()
    await page.getByRole('button', { name: 'Remove dora@example.org' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByText('dora@example.org was removed.').waitFor()
    expect(await list('users')).not.toContainEqual(
      expect.objectContaining({ email: 'dora@example.org' }),
    )
  })

  it('create a key that is shown once, and revoke it; the audit log names them', async () => {
    const email = await invite(['keys:write', 'vouchers:redeem'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/people`, PHONE)
    await page.getByRole('button', { name: 'Create a key' }).click()
    await page.getByLabel('Name', { exact: true }).fill('Ticket shop')
    await page.getByRole('dialog').getByText('Redeem at the door').click()
    const release = await holdBack(page, '**/api-keys')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    // The key is shown also to somebody who did not wait for it.
    await page.getByRole('button', { name: 'Close' }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    release()
    const shown = await page
      .getByRole('dialog')
      .getByText(/^sv_staff_/)
      .textContent()
    const path = `${conference.path}/redemptions`
    expect((await app.request('GET', path, { as: shown })).status).toBe(200)
    await page.getByRole('button', { name: 'Done' }).click()
    await page.getByRole('button', { name: 'Revoke Ticket shop' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
    await expectText(page, 'Revoked')
    expect((await app.request('GET', path, { as: shown })).status).toBe(401)
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('link', { name: 'Audit log' }).click()
    await expectText(page, /API key “Ticket shop”/)
    await expectText(page, 'Sam Staff')
    expect(await fitsWidth(page)).toBe(true)
    expect(await seriousBarriers(page)).toEqual([])
  })
})

describeInBrowser('the lists of users and of keys', () => {
  it('turn their pages apart, and back', async () => {
    const email = await invite(['keys:write'])
    const places = Array.from({ length: 26 }, (_, place) => place)
    await Promise.all(
      places.flatMap((place) => [
        app.request('POST', `${conference.path}/api-keys`, {
          body: { name: `Key ${place}`, role: 'staff', scopes: [] },
        }),
        app.request('POST', `${conference.path}/users`, {
          body: { email: `${unique('user')}@example.org`, role: 'staff', scopes: [] },
        }),
      ]),
    )
    const { page } = await site.visitAs(email, `/console/${conference.slug}/people`)
    const pager = (list: string) =>
      page.locator('section', { has: page.getByRole('heading', { name: list }) })
    const shown = () => [...new URL(page.url()).searchParams.keys()].toSorted()
    await pager('Users').getByRole('button', { name: 'Next page' }).click()
    await expect.poll(shown).toEqual(['users'])
    await pager('API keys').getByRole('button', { name: 'Next page' }).click()
    await expect.poll(shown).toEqual(['keys', 'users'])
    await pager('Users').getByRole('button', { name: 'Previous page' }).click()
    await expect.poll(shown).toEqual(['keys'])
    await pager('API keys').getByRole('button', { name: 'Previous page' }).click()
    await expect.poll(shown).toEqual([])
  })
})

describeInBrowser('a key', () => {
  it('is rotated: the new one works, and the old one until its end', async () => {
    const email = await invite(['keys:write', 'purchases:read'])
    const { body: old } = await app.request<{ key: string }>(
      'POST',
      `${conference.path}/api-keys`,
      { body: { name: 'Cash desk', role: 'staff', scopes: ['purchases:read'] } },
    )
    const { page } = await site.visitAs(email, `/console/${conference.slug}/people`)
    await page.getByRole('button', { name: 'Rotate Cash desk' }).click()
    await page.getByRole('button', { name: /The old key/ }).click()
    await page.getByRole('option', { name: /another hour/ }).click()
    expect(await seriousBarriers(page)).toEqual([])
    await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).dblclick()
    const shown = await page
      .getByRole('dialog')
      .getByText(/^sv_staff_/)
      .textContent()
    await page.getByRole('button', { name: 'Done' }).click()
    const statusOf = async (as: string | null) =>
      (await app.request('GET', `${conference.path}/purchases`, { as })).status
    expect(await Promise.all([shown, old.key].map(statusOf))).toEqual([200, 200])
    await page
      .getByRole('row', { name: /Cash desk.*Active until/ })
      .first()
      .waitFor()
    const named = (await list('api-keys?limit=100')).filter(({ name }) => name === 'Cash desk')
    expect(named).toHaveLength(2)
  })
})

/** Waits until the dialog shows the text. */
async function expectDialogText(page: Parameters<typeof expectText>[0], text: string) {
  await page.getByRole('dialog').getByText(text).first().waitFor()
}
