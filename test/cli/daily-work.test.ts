import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli, stripe } = useCliOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

type Made = Body & { id: string }
type Purchase = Pick<PurchaseAnswer, 'id' | 'status' | 'vouchers'> & Body

const here = (...args: string[]) => [...args, '--conference', shop.conference]

describe('the set-up of a conference', () => {
  it('creates a sponsor like the API, and finds it by its name', async () => {
    const sponsor = await cli.json<Made>(
      here('sponsors:create', '--name', 'Globex Corp', '--email', 'ops@globex.example'),
    )
    expect(sponsor).toMatchObject({ slug: 'globex-corp', contact_email: 'ops@globex.example' })
    const found = await cli.json<{ data: Made[] }>(here('sponsors:list', '--q', 'LOBEX'))
    expect(found.data).toEqual([sponsor])
    expect(await cli.run(here('sponsors:list', '--level', 'no-such-level'))).toMatchObject({
      exitCode: 0,
      stdout: 'None.\n',
    })
    expect(
      await cli.run(here('sponsors:create', '--name', 'X', '--email', 'not-an-address')),
    ).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--email') })
  })

  it('creates a ticket type with its price in the currency of the conference', async () => {
    const made = await cli.run(
      here('ticket-types:create', '--name', 'Speaker', '--price', '12345', '--bulk-enabled'),
    )
    expect(made).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/123\.45 EUR/) })
    const { stdout } = await cli.run(here('ticket-types:list'))
    expect(stdout).toMatch(/Speaker +123\.45 EUR +yes/)
    expect(
      await cli.run(here('ticket-types:create', '--name', 'Y', '--price', '1.5')),
    ).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--price') })
  })

  it('makes no staff key that may do nothing', async () => {
    const args = here('keys:create', '--role', 'staff', '--name', 'Front desk')
    const ran = await cli.run(args)
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' })
    expect(ran.stderr).toMatch(/--scopes is required for a staff key\. Scopes: .*vouchers:redeem/)
  })
})

describe('the daily work of staff', () => {
  const free = (quantity: string) =>
    cli.json<Purchase>(
      here(
        ...`purchases:create --sponsor ${shop.sponsor} --ticket-type ${shop.ticketType}`.split(' '),
        ...`--quantity ${quantity} --unit-amount 0`.split(' '),
      ),
    )
  const codesOf = async ({ id }: Purchase) => {
    const { data } = await cli.json<{ data: { code: string }[] }>(
      here('vouchers:list', '--purchase', id),
    )
    return data.map(({ code }) => code)
  }

  it('gives a sponsor five free vouchers', async () => {
    const purchase = await free('5')
    expect(purchase).toMatchObject({ status: 'PENDING', total_amount: 0 })
    expect(await cli.run(['purchases:approve', purchase.id, '--quantity', '4'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('wrong_state'),
    })
    const approved = await cli.json<Purchase>(['purchases:approve', purchase.id, '--quantity', '5'])
    expect(approved).toMatchObject({ status: 'PAID', vouchers: { issued: 5 } })
    expect(new Set(await codesOf(purchase)).size).toBe(5)
  })

  it('refunds a part of a payment, and says what is left', async () => {
    const { id } = await shop.buy({ quantity: 4 })
    stripe.fake.control.pay(await shop.openSession(id))
    await cli.run(['purchases:reconcile', id])
    const after = await cli.json<Purchase>(['purchases:refund', id, '--amount', '2000'])
    expect(after).toMatchObject({ status: 'PAID', amount_refunded: 2_000 })
    expect((await shop.get(id)).vouchers).toMatchObject({ active: 2, deactivated: 2 })
    const tooMuch = await cli.run(['purchases:refund', id, '--amount', '2001'])
    expect(tooMuch).toMatchObject({ exitCode: 1, stdout: '' })
    expect(tooMuch.stderr).toContain('amount')
    const text = await cli.run(['purchases:refund', id])
    expect(text.stdout).toMatch(/status +REFUNDED\n[^]*refunded +40\.00 EUR/)
  })

  it('withdraws free vouchers, and records a payment that came outside Stripe', async () => {
    const given = await free('2')
    await cli.json(['purchases:approve', given.id])
    expect(
      await cli.json<Purchase>(['purchases:revoke', given.id, '--note', 'Wrong sponsor']),
    ).toMatchObject({ status: 'REFUNDED', vouchers: { deactivated: 2 } })
    const { id } = await shop.buy({ quantity: 4 })
    const transfer = '--method bank_transfer --reference RE-1'.split(' ')
    expect(
      await cli.run(['purchases:mark-paid', id, '--amount', '3999', ...transfer]),
    ).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('must be 4000') })
    const paid = await cli.json<Purchase>([
      'purchases:mark-paid',
      id,
      '--amount',
      '4000',
      ...transfer,
    ])
    expect(paid).toMatchObject({ status: 'PAID', vouchers: { issued: 4 } })
    const [code = '', other = ''] = await codesOf(paid)
    const shown = await cli.run([
      'purchases:refund',
      id,
      '--codes',
      `${code},${other}`,
      '--preview',
    ])
    expect(shown.stdout).toMatch(/amount +20\.00 EUR\n[^]*would become inactive +2\n/)
    expect(shown.stdout).toContain(code)
    expect(await shop.get(id)).toMatchObject({ amount_refunded: 0 })
    await cli.json(['purchases:refund', id, '--codes', code])
    const after = await cli.json<Purchase>(['purchases:refund', id, '--quantity', '1'])
    expect(after).toMatchObject({ amount_refunded: 2_000, vouchers: { deactivated: 2 } })
    expect((await cli.run(here('vouchers:show', code))).stdout).toMatch(/deactivated/)
  })

  it('cancels a purchase that nobody paid', async () => {
    const { id } = await free('1')
    expect(await cli.json<Purchase>(['purchases:cancel', id])).toMatchObject({ status: 'FAILED' })
    expect(await cli.run(['purchases:cancel', id])).toMatchObject({ exitCode: 1 })
    expect(await cli.run(['purchases:cancel', 'bp_unknown'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('bp_unknown'),
    })
  })

  it('says whether a code is good, redeems it and gives the use back', async () => {
    const purchase = await free('1')
    await cli.json(['purchases:approve', purchase.id])
    const [code = ''] = await codesOf(purchase)
    const look = async () => (await cli.run(here('vouchers:show', code.toLowerCase()))).stdout
    expect(await look()).toMatch(/can be redeemed +yes/)
    const redeem = () => cli.run(here('vouchers:redeem', code, '--reference', 'order-1'))
    const first = await redeem()
    expect(first.stdout).toMatch(/^Redeemed for order-1: red_/)
    expect((await redeem()).stdout).toBe(first.stdout.replace('Redeemed', 'Already redeemed'))
    expect(await look()).toMatch(/can be redeemed +no: used_up/)
    const redemption = /red_\w+/.exec(first.stdout)?.[0] ?? ''
    await cli.json(here('vouchers:release', redemption))
    expect(await look()).toMatch(/can be redeemed +yes/)
  })

  it('holds a use for a buyer, confirms it, and says how many are held', async () => {
    const purchase = await free('1')
    await cli.json(['purchases:approve', purchase.id])
    const [code = ''] = await codesOf(purchase)
    const uses = async () =>
      /uses +(.*)/.exec((await cli.run(here('vouchers:show', code))).stdout)?.[1]
    const hold = (seconds: string) =>
      cli.run(here('vouchers:redeem', code, '--reference', 'order-1', '--hold-seconds', seconds))
    const held = await hold('900')
    expect(held.stdout).toMatch(/^Held for order-1: red_\w+, until .* \(UTC\)\n$/)
    expect((await hold('60')).stdout).toBe(held.stdout.replace('Held', 'Already held'))
    expect(await uses()).toBe('0/1 (1 held)')
    const id = /red_\w+/.exec(held.stdout)?.[0] ?? ''
    expect((await cli.run(here('vouchers:confirm', id))).stdout).toBe(
      `Redeemed for order-1: ${id}\n`,
    )
    expect(await uses()).toBe('1/1')
    expect(await hold('0')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--hold-seconds'),
    })
  })

  it('deactivates codes, and names those that it cannot change', async () => {
    const purchase = await free('2')
    await cli.json(['purchases:approve', purchase.id])
    const [one = '', two = ''] = await codesOf(purchase)
    const ran = await cli.run(here('vouchers:deactivate', one, 'NO-SUCH-CODE', two))
    expect(ran).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('1 of 3 vouchers were not changed'),
    })
    expect(ran.stdout).toMatch(new RegExp(`${one} +deactivated`))
    expect(ran.stdout).toMatch(/NO-SUCH-CODE .*not_found/)
    const again = await cli.json<{ data: { voucher: { state: string } }[] }>(
      here('vouchers:activate', one, two),
    )
    expect(again.data.map(({ voucher }) => voucher.state)).toEqual(['active', 'active'])
  })

  it('assigns a code to a person, finds the person, and replaces no one by mistake', async () => {
    const purchase = await free('1')
    await cli.json(['purchases:approve', purchase.id])
    const [code = ''] = await codesOf(purchase)
    const assign = (email: string, ...more: string[]) =>
      cli.run(here('vouchers:assign', code, '--email', email, ...more))
    expect(await assign('ada@acme.example', '--name', 'Ada Lovelace')).toMatchObject({
      exitCode: 0,
      stdout: `Assigned ${code} to ada@acme.example.\n`,
    })
    expect(await assign('grace@acme.example', '--only-if-free')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('already_assigned'),
    })
    expect(await assign('grace')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--email'),
    })
    const found = await cli.run(here('vouchers:list', '--q', 'lovelace'))
    expect(found.stdout).toMatch(new RegExp(`${code} .*ada@acme.example`))
    expect((await cli.run(here('vouchers:show', code))).stdout).toMatch(/assigned to +ada@acme/)
    expect((await cli.run(here('vouchers:unassign', code))).stdout).toContain('to no one')
    const none = await cli.run(here('vouchers:list', '--assigned-to', 'ada@acme.example'))
    expect(none.stdout).toBe('None.\n')
  })

  it('assigns the codes of a file, after a preview of its errors by line', async () => {
    const purchase = await free('2')
    await cli.json(['purchases:approve', purchase.id])
    const [one = '', two = ''] = await codesOf(purchase).then((codes) => codes.toReversed())
    const folder = await mkdtemp(join(tmpdir(), 'assign-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const file = join(folder, 'team.csv')
    const upload = (...more: string[]) =>
      cli.run(here('vouchers:assign-csv', file, '--purchase', purchase.id, ...more))
    expect(await upload()).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('ENOENT'),
    })
    await writeFile(file, 'email,name\nada@acme.example,Ada\ngrace,Grace\n')
    const preview = await upload('--preview')
    expect(preview).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/line\/3\/email +must be an email address/),
    })
    expect(preview.stdout).toMatch(new RegExp(`2 +${one} +ada@acme.example +Ada +assigned`))
    expect(await upload()).toMatchObject({ exitCode: 1, stdout: '' })
    await writeFile(file, 'email,name\nada@acme.example,Ada\ngrace@acme.example,Grace\n')
    expect((await upload()).stdout).toMatch(new RegExp(`3 +${two} +grace@acme.example .*assigned`))
    expect((await upload()).stdout).toMatch(/ada@acme.example +Ada +unchanged/)
  })

  it('exports the codes as the API does', async () => {
    const purchase = await free('3')
    await cli.json(['purchases:approve', purchase.id])
    const path = `${shop.path}/purchases/${purchase.id}/vouchers`
    const { body } = await app.request<string>('GET', path, { headers: { accept: 'text/csv' } })
    expect(await cli.run(here('vouchers:export', '--purchase', purchase.id))).toEqual({
      exitCode: 0,
      stdout: body,
      stderr: '',
    })
    expect(await cli.run(here('vouchers:export'))).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('either --purchase or --batch'),
    })
  })
})
