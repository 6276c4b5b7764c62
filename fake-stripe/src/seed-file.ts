import { z } from 'zod'
import type { FakeStripeControl } from './control/fake-stripe-control.ts'

const request = z.strictObject({
  method: z.enum(['POST', 'DELETE']).default('POST'),
  path: z.string().startsWith('/v1/'),
  params: z.record(z.string(), z.unknown()).default({}),
  /** Later requests write `{{name}}` for the id of the object that this one returns. */
  save_as: z.string().regex(/^\w+$/).optional(),
  key: z.string().optional(),
})

const seedSchema = z.strictObject({
  accounts: z
    .array(
      z.strictObject({
        key: z.string(),
        name: z.string().optional(),
        country: z.string().length(2).optional(),
        default_currency: z.string().length(3).optional(),
      }),
    )
    .default([]),
  /** Stored unchecked and without events. */
  objects: z.array(z.looseObject({ id: z.string().min(1), object: z.string().min(1) })).default([]),
  requests: z.array(request).default([]),
})

export type Seed = z.output<typeof seedSchema>

/** @throws Error for text that is not JSON or does not have the format; README.md describes it. */
export function readSeed(text: string): Seed {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Error(
      `--seed: the file is not JSON: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
  const seed = seedSchema.safeParse(value)
  if (seed.success) return seed.data
  throw new Error(
    `--seed: the file does not have the format of a seed file.\n${z.prettifyError(seed.error)}`,
  )
}

/**
 * Creates what the file lists: accounts, then objects, then the results of the requests in order.
 *
 * @param key the account of objects and of requests that name no key; absent: the file's first.
 * @throws Error that names the request that failed.
 */
export function applySeed(control: FakeStripeControl, seed: Seed, key: string | undefined): void {
  for (const { key: secretKey, ...account } of seed.accounts)
    control.createAccount({ secretKey, ...account })
  const account = key ?? seed.accounts[0]?.key
  if (account === undefined)
    throw new Error('--seed: name an account, by --key or in the file under "accounts".')
  control.put(account, seed.objects)
  const saved = new Map<string, string>()
  for (const [index, entry] of seed.requests.entries()) {
    const { method, path, params, save_as: name } = entry
    try {
      const target = insertIds(path, saved) as string // a text stays a text
      const made = control.call(
        entry.key ?? account,
        method,
        target,
        insertIds(params, saved) as object,
      )
      if (name !== undefined) saved.set(name, (made as { id: string }).id) // Stripe's objects have one
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new Error(`--seed: requests[${index}] ${method} ${path}: ${reason}`)
    }
  }
}

/** Replaces each `{{name}}` in texts, however deep. @throws Error for a name that is not saved yet. */
function insertIds(value: unknown, saved: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string')
    return value.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
      const id = saved.get(name)
      if (id === undefined) throw new Error(`No earlier request is saved as "${name}".`)
      return id
    })
  if (Array.isArray(value)) return value.map((item) => insertIds(item, saved))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, insertIds(item, saved)]),
  )
}
