// `/v1/checkout/sessions`: the resource has two words.
const NAMESPACES = new Set(['checkout', 'radar', 'billing_portal', 'test_helpers'])
const SINGULAR = new Set(['account', 'balance'])

function verbOf(method: string, hasId: boolean): string {
  if (method === 'DELETE') return 'delete'
  if (method === 'GET') return hasId ? 'retrieve' : 'list'
  return hasId ? 'update' : 'create'
}

/**
 * A name for a request that is fit for a metric's label: no ids, few values.
 * `POST /v1/checkout/sessions/cs_1/expire` → `checkout.sessions.expire`.
 */
export function operationOf(method: string, path: string): string {
  const words = (path.split('?')[0] ?? '').split('/').slice(2)
  const size = NAMESPACES.has(words[0] ?? '') ? 2 : 1
  const resource = words.slice(0, size).join('.')
  const [id, action] = words.slice(size)
  const hasId = id !== undefined || SINGULAR.has(resource)
  return `${resource}.${action ?? verbOf(method, hasId)}`
}
