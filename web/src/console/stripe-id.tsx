import { Link } from 'wouter'
import type { ConsoleScope } from './scope.ts'
import { pathOf, resourceOf } from './stripe-objects.ts'

/** An id of Stripe: for those who may see the mirror, a link to the object. */
export function StripeId({ scope: { may }, id }: { scope: ConsoleScope; id: string }) {
  const resource = may('stripe:sync') ? resourceOf(id) : null
  if (resource === null) return <code>{id}</code>
  return (
    <Link className="code" href={pathOf(resource, id)}>
      {id}
    </Link>
  )
}
