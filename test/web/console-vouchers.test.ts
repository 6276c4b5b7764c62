import { expect, it } from 'vitest'
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

const { conference, inviteStaff: invite } = useConference(app)

/** Codes of a batch that staff issued. */
async function issue(count: number, terms: Record<string, unknown> = {}): Promise<string[]> {
  const body = { count, voucher_type: 'comp', ...terms }
  const batch = await app.request<{ id: string }>('POST', `${conference.path}/voucher-batches`, {
    body,
  })
  const { body: page } = await app.request<{ data: { code: string }[] }>(
    'GET',
    `${conference.path}/voucher-batches/${batch.body.id}/vouchers`,
  )
  return page.data.map(({ code }) => code)
}

async function voucher(code: string) {
  const { body } = await app.request('GET', `${conference.path}/vouchers/${code}`)
  return body
}

describeInBrowser('"is this code good?"', () => {
  it('is answered at the door, with a phone and the scope vouchers:redeem', async () => {
    const [code = ''] = await issue(1)
    const email = await invite(['vouchers:redeem'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}`, PHONE)
    // As people type it.
    await page.getByLabel('Code, person or order').fill(code.toLowerCase().replaceAll('-', ' '))
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'This code is good' }).waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    expect(await fitsWidth(page)).toBe(true)
    await page.getByRole('button', { name: 'Redeem' }).dblclick()
    await page.getByRole('heading', { name: 'Not good: already used' }).waitFor()
    expect(await voucher(code)).toMatchObject({ times_used: 1 })
    await page.getByRole('button', { name: 'Release' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Release' }).click()
    await page.getByRole('heading', { name: 'This code is good' }).waitFor()
    expect(await voucher(code)).toMatchObject({ times_used: 0 })
  })

  it('is answered with the reason, and for a code that nobody issued', async () => {
    const [early = ''] = await issue(1, { valid_from: '2099-01-01T00:00:00Z' })
    const email = await invite(['vouchers:redeem'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}`)
    await page.getByLabel('Code, person or order').fill(early)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Not good yet' }).waitFor()
    await expectText(page, /It works from 1 Jan 2099, 01:00/)
    await page.getByLabel('Code, person or order').fill('NO-SUCH-CODE')
    await page.keyboard.press('Enter')
    await expectText(page, 'Nothing found.')
    // A search that failed has not found nothing.
    await page.route('**/redemptions?**', (route) => route.fulfill({ status: 502, body: 'Bad' }))
    await page.getByLabel('Code, person or order').fill('NO-SUCH-ORDER')
    await page.keyboard.press('Enter')
    await expectText(page, 'The service answered with status 502.')
    expect(await page.getByText('Nothing found.').count()).toBe(0)
  })

  it('shows what another door does, without a reload', async () => {
    const [code = ''] = await issue(1)
    const email = await invite(['vouchers:redeem'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/vouchers?q=${code}`)
    await page.getByRole('heading', { name: 'This code is good' }).waitFor()
    await app.request('POST', `${conference.path}/vouchers/${code}/redemptions`, {
      body: { reference: 'another-door', hold_seconds: 900 },
    })
    await page.getByRole('heading', { name: 'Not good now: held for an order' }).waitFor()
    await expectText(page, /held until/)
    await app.request('POST', `${conference.path}/vouchers/${code}/redemptions`, {
      body: { reference: 'another-door' },
    })
    await page.getByRole('heading', { name: 'Not good: already used' }).waitFor()
    await expectText(page, 'Order another-door')
  })
})

describeInBrowser('staff who look for vouchers', () => {
  it('find them by person and by order, and deactivate one', async () => {
    const [first = '', second = ''] = await issue(2, { max_uses: 3 })
    await app.request('PUT', `${conference.path}/vouchers/${first}/assignment`, {
      body: { email: 'ada@example.org', name: 'Ada Lovelace', send: false },
    })
    await app.request('POST', `${conference.path}/vouchers/${second}/redemptions`, {
      body: { reference: 'order-1042' },
    })
    const email = await invite(['vouchers:read', 'vouchers:write', 'vouchers:redeem'])
    const { page } = await site.visitAs(email, `/console/${conference.slug}/vouchers`)
    const search = page.getByRole('searchbox', { name: 'Code, person or order' })
    await page.getByRole('table', { name: 'Vouchers' }).waitFor()
    expect(await seriousBarriers(page)).toEqual([])
    await search.fill('lovelace')
    await search.press('Enter')
    await page.getByRole('cell', { name: 'Ada Lovelace' }).waitFor()
    expect(await page.getByRole('row').count()).toBe(2)
    await search.fill('order-1042')
    await search.press('Enter')
    await page.getByRole('link', { name: second }).click()
    await expectText(page, '2 uses of 3 left.')
    await page.getByRole('button', { name: 'Deactivate' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Deactivate' }).click()
    await page.getByRole('heading', { name: 'Not good: deactivated' }).waitFor()
    expect(await voucher(second)).toMatchObject({ state: 'deactivated' })
    expect(await voucher(first)).toMatchObject({ state: 'active' })
  })
})
