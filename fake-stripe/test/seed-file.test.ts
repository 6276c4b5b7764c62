import { expect, it } from 'vitest'
import { applySeed, readSeed } from '../src/seed-file.ts'
import { startFake } from './fake-under-test.ts'

it.each([
  ['no JSON', '{', /^--seed: the file is not JSON/],
  [
    'an unknown field',
    { customers: [] },
    /does not have the format of a seed file[\s\S]*customers/,
  ],
  [
    'a request that is refused',
    { requests: [{ path: '/v1/customers', params: { foo: 1 } }] },
    /^--seed: requests\[0\] POST \/v1\/customers: Received unknown parameter: foo/,
  ],
  [
    'a request that does not exist',
    { requests: [{ path: '/v1/nothing' }] },
    /fake-stripe does not implement POST \/v1\/nothing/,
  ],
  [
    'a name that is not saved',
    { requests: [{ path: '/v1/customers/{{who}}' }] },
    /No earlier request is saved as "who"/,
  ],
])('refuses a seed file with %s', async (_, content, message) => {
  const { control } = await startFake()
  const text = typeof content === 'string' ? content : JSON.stringify(content)
  expect(() => applySeed(control, readSeed(text), 'sk_test_123')).toThrow(message)
})

it('needs an account for its objects', async () => {
  const { control } = await startFake()
  expect(() => applySeed(control, readSeed('{}'), undefined)).toThrow(/name an account/)
})
