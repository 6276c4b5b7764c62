import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import Stripe from 'stripe'
import { expect, it, onTestFinished } from 'vitest'
import { useInstalledPackage } from './installed-package.ts'
import { startReceiver } from './webhook-receiver.ts'

const installed = useInstalledPackage()

function sdk(url: string, key: string): Stripe {
  const { hostname, port } = new URL(url)
  return new Stripe(key, { host: hostname, port, protocol: 'http', maxNetworkRetries: 0 })
}

async function seedFile(name: string, content: unknown): Promise<string> {
  const file = join(installed.project, name)
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
  return file
}

it('contains the compiled code, the README and the license, and nothing else', async () => {
  const { stdout } = await installed.run('find', ['node_modules/fake-stripe', '-type', 'f'])
  const files = stdout.trim().split('\n')
  const others = files.filter((file) => !/\/dist\/.*\.(js|d\.ts)$/.test(file))
  expect(others.map((file) => file.replace('node_modules/fake-stripe/', '')).toSorted()).toEqual([
    'LICENSE',
    'README.md',
    'package.json',
  ])
})

it('runs with npx', async () => {
  const { stdout } = await installed.run('npx', ['--no-install', 'fake-stripe', '--help'])
  for (const option of ['--port', '--host', '--key', '--webhook', '--webhook-secret', '--seed'])
    expect(stdout).toContain(option)
  const { stdout: version } = await installed.run('node_modules/.bin/fake-stripe', ['-V'])
  expect(version.trim()).toMatch(/^\d+\.\d+\.\d+$/)
})

it('accepts every well-formed key by default, sends the events of every account signed with a new secret, and ends on SIGINT', async () => {
  const receiver = await startReceiver()
  const command = await installed.start('--port', '0', '--webhook', receiver.url)
  expect(command.output).toContain('Dashboard:   http://127.0.0.1:')
  const [, url, secret = ''] =
    /Webhooks: +(\S+), signing secret (whsec_\w{32})$/m.exec(command.output) ?? []
  expect(url).toBe(receiver.url)
  const { id } = await sdk(command.url, 'sk_test_123').customers.create({ name: 'A' })
  expect(id).toMatch(/^cus_/)
  await sdk(command.url, 'sk_test_456').customers.create({})
  await expect.poll(() => receiver.types()).toEqual(['customer.created', 'customer.created'])
  for (const { body, signature } of receiver.received) {
    const event = Stripe.webhooks.constructEvent(body, signature, secret)
    expect(event.type).toBe('customer.created')
  }
  expect((await fetch(`${command.url}/`)).status).toBe(200)
  expect(await command.stop('SIGINT')).toBe(0)
})

it('creates the objects of a seed file, accepts only the keys and signs with the secret that it is given, and ends on SIGTERM', async () => {
  const receiver = await startReceiver()
  const seed = await seedFile('seed.json', {
    accounts: [{ key: 'sk_test_shop', name: 'Shop', country: 'DE', default_currency: 'eur' }],
    objects: [{ id: 'HALF', object: 'coupon', percent_off: 50, valid: true, created: 1 }],
    requests: [
      {
        path: '/v1/customers',
        params: { name: 'Sponsor', metadata: { level: 'gold' } },
        save_as: 'sponsor',
      },
      { path: '/v1/payment_methods/pm_card_visa/attach', params: { customer: '{{sponsor}}' } },
      { path: '/v1/customers/{{sponsor}}', params: { description: 'Of {{sponsor}}' } },
      { path: '/v1/products', params: { name: 'Voucher' }, key: 'sk_test_other' },
    ],
  })
  const keys = ['--key', 'sk_test_shop', '--key', 'sk_test_other']
  const endpoint = ['--webhook', receiver.url, '--webhook-secret', 'whsec_of_the_test']
  const command = await installed.start('--port', '0', '--seed', seed, ...keys, ...endpoint)
  expect(command.output).toContain('sk_test_shop, sk_test_other')
  const shop = sdk(command.url, 'sk_test_shop')
  expect(await shop.accounts.retrieveCurrent()).toMatchObject({ country: 'DE' })
  const [customer] = (await shop.customers.list()).data
  expect(customer).toMatchObject({ name: 'Sponsor', description: `Of ${customer?.id}` })
  expect((await shop.paymentMethods.list({ customer: customer?.id ?? '' })).data).toHaveLength(1)
  expect((await shop.coupons.retrieve('HALF')).percent_off).toBe(50)
  expect((await shop.products.list()).data).toEqual([])
  const other = sdk(command.url, 'sk_test_other')
  expect((await other.products.list()).data).toHaveLength(1)
  await expect(sdk(command.url, 'sk_test_third').customers.list()).rejects.toThrow(
    /Invalid API Key/,
  )
  const { id } = await other.customers.create({})
  const signed = () =>
    receiver.received.map(({ body, signature }) =>
      Stripe.webhooks.constructEvent(body, signature, 'whsec_of_the_test'),
    )
  await expect
    .poll(() => signed().map(({ data }) => (data.object as { id?: string }).id))
    .toContain(id)
  expect(await command.stop('SIGTERM')).toBe(0)
})

it('says when the port is in use', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  expect(await installed.fail(['--port', String(port)])).toEqual({
    code: 1,
    stderr: `error: port ${port} is already in use. Choose another one with --port; --port 0 takes a free one.\n`,
  })
})

it.each([
  [['--port', 'high'], /It must be a number from 0 to 65535/],
  [['--webhook', 'example'], /It must be an http or https URL/],
  [['--webhook', 'http://a.example', '--webhook-secret', 'x'], /It must begin with whsec_/],
  [['--webhook-secret', 'whsec_x'], /--webhook-secret needs --webhook/],
  [['--seed', 'none.json'], /--seed: there is no file none\.json/],
  [['--key', 'nonsense', '--port', '0'], /This is not a secret key for test mode/],
  [['--nothing'], /unknown option '--nothing'[\s\S]*--help lists the options/],
])('refuses %j', async (args, message) => {
  const failed = await installed.fail(args)
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(message) })
})

it('does not start in production', async () => {
  const failed = await installed.fail(['--port', '0'], { NODE_ENV: 'production' })
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/NODE_ENV=production/) })
})

it('can be started by a program', async () => {
  const script = `
    import { startFakeStripe } from 'fake-stripe'
    const fake = await startFakeStripe()
    fake.control.createAccount({ secretKey: 'sk_test_program' })
    const answer = await fetch(fake.url + '/v1/balance', { headers: { authorization: 'Bearer sk_test_program' } })
    console.log((await answer.json()).object)
    await fake.close()`
  const { stdout } = await installed.run(process.execPath, ['--input-type=module', '-e', script])
  expect(stdout.trim()).toBe('balance')
})
