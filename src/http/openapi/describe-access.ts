import type { AccessRule } from '../access-rule.ts'
import type { Operation } from './api-document.ts'

// Names of the security schemes in the document.
const API_KEY = 'apiKey'
const STRIPE_SIGNATURE = 'stripeSignature'

export const SECURITY_SCHEMES = {
  [API_KEY]: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API key: `Authorization: Bearer <key>`. Its role is operator (the platform), staff (one conference, with scopes) or sponsor (one sponsor).',
  },
  [STRIPE_SIGNATURE]: {
    type: 'apiKey',
    in: 'header',
    name: 'Stripe-Signature',
    description: "Stripe's signature over the raw body, by a webhook secret of the conference.",
  },
}

/** The rule as data: `roles` that may call, and the scopes of which a staff key needs one. */
type Access = { roles: string[]; scopes?: readonly string[] }

function accessOf(rule: AccessRule): Access {
  if (rule === 'public') return { roles: ['anyone'] }
  if (rule === 'stripe') return { roles: ['stripe'] }
  if (rule === 'operator') return { roles: ['operator'] }
  if (rule === 'staff') return { roles: ['operator', 'staff'] }
  const sponsors = rule.sponsor === true ? ['sponsor'] : []
  return { roles: ['operator', 'staff', ...sponsors], scopes: rule.anyOf }
}

function sentenceOf(rule: AccessRule): string {
  if (rule === 'public') return 'For anyone; no API key is needed.'
  if (rule === 'stripe') return "For Stripe; the signature takes an API key's place."
  if (rule === 'operator') return 'For operators.'
  if (rule === 'staff') return 'For any staff key of the conference, and operators.'
  const scopes = rule.anyOf.map((scope) => `\`${scope}\``).join(' or ')
  const sponsors = rule.sponsor === true ? ', sponsors for what is their own' : ''
  return `For staff with the scope ${scopes}${sponsors}, and operators.`
}

function securityOf(rule: AccessRule): Record<string, string[]>[] {
  if (rule === 'public') return []
  return [{ [rule === 'stripe' ? STRIPE_SIGNATURE : API_KEY]: [] }]
}

/** What a route's access rule says, in the three places where a reader or a tool looks for it. */
export function describeAccess(
  rule: AccessRule,
  description: string | undefined,
): Pick<Operation, 'security' | 'description' | 'x-access'> {
  const sentence = sentenceOf(rule)
  return {
    security: securityOf(rule),
    description: description === undefined ? sentence : `${description}\n\n${sentence}`,
    'x-access': accessOf(rule),
  }
}
