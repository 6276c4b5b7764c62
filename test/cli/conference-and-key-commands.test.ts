import { describe, expect, it, vi } from 'vitest'
import { createSponsor, unique } from '../support/fixtures.ts'
import { type Body, useTestApp } from '../support/test-app.ts'
import { useCommandLine } from './command-line.ts'

const app = useTestApp()
const cli = useCommandLine(app)

const STRIPE_KEY = 'sk_test_neverToBeSeenAgain1234'
const WEBHOOK_SECRET = 'whsec_neverToBeSeenAgain5678'

const words = (text: string) => text.split(' ')

const newConference = (slug: string) => [
  ...words(`conferences:create --slug ${slug} --currency eur --name`),
  `Conference ${slug}`,
]

async function isLetIn(path: string, as: string): Promise<boolean> {
  return (await app.request('GET', path, { as })).status === 200
}

describe('conferences', () => {
  it('are created with the validation and the answer of the API', async () => {
    const slug = unique('conf')
    const made = await cli.json<Body>([...newConference(slug), '--max-quantity', '2000'])
    const { body } = await app.request('GET', `/v1/conferences/${slug}`)
    expect(made).toEqual(body)
    expect(made).toMatchObject({ currency: 'EUR', max_quantity: 2_000, livemode: null })
  })

  it('read their secrets from standard input, so that they stay out of the shell history', async () => {
    const slug = unique('conf')
    const args = [...newConference(slug), '--stripe-key', '-', '--webhook-secret', '-']
    const stdin = [STRIPE_KEY, WEBHOOK_SECRET]
    const made = await cli.json<Body>(args, { stdin })
    expect(made).toMatchObject({ livemode: false, stripe_secret_key: '****1234' })
    const secrets = await app.request('GET', `/v1/conferences/${slug}/webhook-secrets`)
    expect(secrets.body['data']).toMatchObject([{ secret: 'whsec_****5678' }])
  })

  it('read them from the environment, too', async () => {
    vi.stubEnv('STRIPE_SECRET_KEY', STRIPE_KEY)
    const made = await cli.json<Body>(newConference(unique('conf')))
    expect(made['stripe_secret_key']).toBe('****1234')
  })

  it('are not created if standard input has no secret', async () => {
    const slug = unique('conf')
    const ran = await cli.run([...newConference(slug), '--stripe-key', '-'])
    expect(ran).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--stripe-key') })
    expect((await app.request('GET', `/v1/conferences/${slug}`)).status).toBe(404)
  })

  it('are not created with another ENCRYPTION_KEY than the database has', async () => {
    await cli.json(newConference(unique('conf')))
    const slug = unique('conf')
    const args = [...newConference(slug), '--stripe-key', STRIPE_KEY]
    const env = { ENCRYPTION_KEY: Buffer.alloc(32, 9).toString('base64') }
    const ran = await cli.run(args, { env })
    const message = 'ENCRYPTION_KEY is not the key with which this database was encrypted'
    expect(ran).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(message) })
    expect((await app.request('GET', `/v1/conferences/${slug}`)).status).toBe(404)
    expect((await cli.run(args)).exitCode).toBe(0)
  })

  it('never print a secret, on success or failure', async () => {
    const slug = unique('conf')
    const args = [...newConference(slug), '--stripe-key', STRIPE_KEY]
    const outputs = [
      await cli.run([...args, '--webhook-secret', WEBHOOK_SECRET]),
      await cli.run([...args, '--webhook-secret', WEBHOOK_SECRET, '--json']),
      await cli.run([...newConference('Not_A_Slug'), '--stripe-key', `${STRIPE_KEY}!`]),
      await cli.run(['conferences:list']),
    ]
    expect(outputs.map(({ exitCode }) => exitCode)).toEqual([0, 1, 2, 0])
    const text = outputs.map(({ stdout, stderr }) => stdout + stderr).join('')
    expect(text).toContain('****1234')
    expect(text).not.toContain('neverToBeSeenAgain')
  })

  it('with an existing slug are refused like in the API', async () => {
    const slug = unique('conf')
    await cli.json(newConference(slug))
    const { exitCode, stderr } = await cli.run([...newConference(slug), '--json'])
    expect(exitCode).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({
      code: 'already_exists',
      status: 409,
      errors: [{ pointer: '/slug' }],
    })
  })

  it('are changed field by field; the environment does not change the Stripe key', async () => {
    const slug = unique('conf')
    const bank = 'DevConf e.V.\nIBAN DE02 1203 0000 0000 2020 51'
    const made = await cli.json<Body>([
      ...newConference(slug),
      ...words('--checkout-expires-after-minutes 60 --invoice-creation --tax-id-collection'),
      '--bank-details',
      bank,
    ])
    expect(made).toMatchObject({
      checkout_expires_after_minutes: 60,
      invoice_creation: true,
      tax_id_collection: true,
      bank_details: bank,
    })
    vi.stubEnv('STRIPE_SECRET_KEY', STRIPE_KEY)
    const update = (...options: string[]) =>
      cli.json<Body>(['conferences:update', slug, ...options])
    const changed = await update(
      ...words('--name DevConf --max-quantity 900 --no-invoice-creation --no-bank-details'),
      ...words('--allowed-origin https://a.example https://b.example'),
    )
    expect(changed).toMatchObject({
      name: 'DevConf',
      max_quantity: 900,
      invoice_creation: false,
      tax_id_collection: true,
      bank_details: null,
      allowed_origins: ['https://a.example', 'https://b.example'],
      stripe_secret_key: null,
    })
    const keyed = await cli.json<Body>(
      ['conferences:update', slug, '--any-origin', '--stripe-key', '-'],
      { stdin: [STRIPE_KEY] },
    )
    expect(keyed).toMatchObject({ allowed_origins: [], stripe_secret_key: '****1234' })
    expect(keyed).toEqual((await app.request('GET', `/v1/conferences/${slug}`)).body)
  })

  it('have signing secrets that are added, listed masked, and deleted', async () => {
    const slug = unique('conf')
    await cli.json(newConference(slug))
    const of = ['--conference', slug]
    type Secret = { id: string; secret: string }
    const stdin = [WEBHOOK_SECRET]
    const secret = await cli.json<Secret>(['webhook-secrets:add', ...of, '--secret', '-'], {
      stdin,
    })
    expect(secret).toMatchObject({ secret: 'whsec_****5678' })
    const list = () => cli.json<{ data: Secret[] }>(['webhook-secrets:list', ...of])
    expect((await list()).data).toEqual([secret])
    await cli.json(['webhook-secrets:delete', secret.id, ...of])
    expect((await list()).data).toEqual([])
  })

  it('are listed page by page', async () => {
    await cli.json(newConference(unique('conf')))
    await cli.json(newConference(unique('conf')))
    type Page = { data: { slug: string }[]; next_cursor: string }
    const first = await cli.json<Page>(['conferences:list', '--limit', '1'])
    const cursor = ['--cursor', first.next_cursor]
    const second = await cli.json<Page>(['conferences:list', '--limit', '1', ...cursor])
    expect(first.data).toHaveLength(1)
    expect(second.data[0]?.slug).not.toBe(first.data[0]?.slug)
    const { stdout } = await cli.run(['conferences:list', '--limit', '1'])
    expect(stdout).toMatch(/^SLUG +NAME +CURRENCY/)
    expect(stdout).toContain(`Next page: --cursor ${first.next_cursor}`)
  })
})

describe('API keys', () => {
  type Key = { id: string; key: string; role: string; scopes: string[]; expires_at: string | null }

  it('of staff work immediately, in their conference, with their scopes', async () => {
    const slug = unique('conf')
    await cli.json(newConference(slug))
    const key = await cli.json<Key>([
      ...words(`keys:create --role staff --conference ${slug} --name Desk --expires 2099-12-31`),
      '--scopes',
      'purchases:read, vouchers:redeem',
    ])
    expect(key).toMatchObject({
      role: 'staff',
      scopes: ['purchases:read', 'vouchers:redeem'],
      expires_at: '2099-12-31T00:00:00.000Z',
    })
    expect(await isLetIn(`/v1/conferences/${slug}/purchases`, key.key)).toBe(true)
    expect(await isLetIn(`/v1/conferences/${slug}/api-keys`, key.key)).toBe(false)
  })

  it('of a sponsor and of the operator work as well', async () => {
    const slug = unique('conf')
    await cli.json(newConference(slug))
    const path = `/v1/conferences/${slug}`
    const sponsor = await createSponsor(app, { path })
    const forSponsor = ['--role', 'sponsor', '--conference', slug, '--sponsor', sponsor.slug]
    const buyer = await cli.json<Key>(['keys:create', ...forSponsor, '--name', 'Shop'])
    const platform = await cli.json<Key>(['keys:create', '--role', 'operator', '--name', 'Ops'])
    expect(await isLetIn(`${path}/purchases`, buyer.key)).toBe(true)
    expect(await isLetIn('/v1/conferences', buyer.key)).toBe(false)
    expect(await isLetIn('/v1/conferences', platform.key)).toBe(true)
  })

  it('are shown only when they are created', async () => {
    const slug = unique('conf')
    await cli.json(newConference(slug))
    const role = ['--role', 'staff', '--scopes', 'vouchers:read', '--conference', slug]
    const { stdout } = await cli.run(['keys:create', ...role, '--name', 'Desk'])
    const text = /sv_staff_\S+/.exec(stdout)?.[0] ?? ''
    expect(await isLetIn(`/v1/conferences/${slug}`, text)).toBe(true)
    const listed = await cli.run(['keys:list', '--conference', slug])
    const asJson = await cli.run(['keys:list', '--conference', slug, '--json'])
    expect(listed.stdout).toContain('Desk')
    expect(listed.stdout + asJson.stdout).not.toContain(text)
    expect(JSON.parse(asJson.stdout)).toMatchObject({ data: [{ name: 'Desk', key: null }] })
  })

  it('of any role stop working once they are revoked', async () => {
    const slug = unique('conf')
    await cli.json(newConference(slug))
    const role = ['--role', 'staff', '--scopes', 'vouchers:read', '--conference', slug]
    const staff = await cli.json<Key>(['keys:create', ...role, '--name', 'Desk'])
    const platform = await cli.json<Key>(['keys:create', '--role', 'operator', '--name', 'Ops'])
    for (const { id, key } of [staff, platform]) {
      expect(await cli.run(['keys:revoke', id])).toMatchObject({ exitCode: 0 })
      expect((await app.request('GET', `/v1/conferences/${slug}`, { as: key })).status).toBe(401)
    }
    const { stdout } = await cli.run(['keys:list', '--conference', slug])
    expect(stdout).toContain('revoked')
  })

  it('are refused for a conference or a key that does not exist', async () => {
    const role = ['--role', 'staff', '--scopes', 'vouchers:read', '--conference', 'nowhere']
    const runs = [
      await cli.run(['keys:create', ...role, '--name', 'Desk']),
      await cli.run(['keys:revoke', 'key_none']),
    ]
    expect(runs.map(({ exitCode }) => exitCode)).toEqual([1, 1])
    for (const { stderr } of runs) expect(stderr).toMatch(/^error: .*\(not_found\)\n$/)
  })
})

describe('people', () => {
  it('are invited, get a sign-in link, and lose their access', async () => {
    const slug = unique('conf')
    await cli.json<Body>(newConference(slug))
    const sponsor = await createSponsor(app, { path: `/v1/conferences/${slug}` })
    const invite = (email: string, options: string) =>
      cli.json<Body & { id: string }>(words(`users:invite ${email} ${options}`))
    const operator = await invite('Ada@example.org', '--role operator')
    const staff = await invite(
      'grace@example.org',
      `--role staff --conference ${slug} --scopes purchases:read,vouchers:read`,
    )
    expect(staff).toMatchObject({ role: 'staff', scopes: ['purchases:read', 'vouchers:read'] })
    const member = await invite(
      'bob@example.org',
      `--role sponsor --conference ${slug} --sponsor ${sponsor.slug}`,
    )
    expect(member).toMatchObject({ sponsor: sponsor.id })
    const listed = await cli.json<{ data: Body[] }>(words(`users:list --conference ${slug}`))
    expect(listed.data.map(({ email }) => email)).toEqual(['bob@example.org', 'grace@example.org'])

    const { stdout } = await cli.run(words('users:sign-in-link ADA@example.org'))
    const body = { token: stdout.trim().split('#token=')[1] }
    expect(await app.request('POST', '/v1/sessions', { as: null, body })).toMatchObject({
      status: 201,
    })
    for (const { id } of [operator, staff]) {
      expect(await cli.run(['users:remove', id])).toMatchObject({ exitCode: 0 })
    }
    expect(await cli.run(words('users:sign-in-link ada@example.org'))).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('No user has the address ada@example.org.'),
    })
  })

  it('who are staff need scopes, and the list of them is in the message', async () => {
    const ran = await cli.run(words('users:invite x@example.org --role staff --conference c'))
    expect(ran).toMatchObject({ exitCode: 2 })
    expect(ran.stderr).toMatch(/--scopes is required for staff\. Scopes: .*vouchers:redeem/)
  })
})
