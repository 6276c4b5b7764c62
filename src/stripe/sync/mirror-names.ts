import type { StripeResource } from './stripe-resource.ts'

type Named = Pick<StripeResource, 'name' | 'objects'>

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1)

const pascal = (text: string) =>
  text
    .split(/[^A-Za-z]+/)
    .map(capital)
    .join('')

const singular = ({ name, objects }: Named) => objects[0] ?? name

/** How the API's document names the parts of one resource, and its people speak of it. */
export type MirrorNames = {
  /** operationIds. */
  list: string
  get: string
  sync: string
  /** The schema of a row. */
  schema: string
  /** `payment intent` and `payment intents`. */
  one: string
  many: string
}

/** From the resource's name and from Stripe's own name for one of the kind: its first `object`. */
export function mirrorNames(resource: Named): MirrorNames {
  const one = singular(resource)
  return {
    list: `listStripe${pascal(resource.name)}`,
    get: `getStripe${pascal(one)}`,
    sync: `syncStripe${pascal(resource.name)}`,
    schema: `Mirrored${pascal(one)}`,
    one: one.replaceAll(/[._]/g, ' '),
    many: resource.name.replaceAll('-', ' '),
  }
}
