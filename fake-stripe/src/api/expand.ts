import { StripeError } from '../core/errors.ts'
import type { Scope } from '../core/scope.ts'
import type { Operation, Resource } from './operations.ts'

type Registry = ReadonlyMap<string, Resource>
type Shape = { kind: string; list: boolean }
type Tree = { [field: string]: Tree }
type Plain = Record<string, unknown>

const MAX_DEPTH = 4

/**
 * Refuses paths that do not exist in the response, before the request is executed.
 *
 * @see https://docs.stripe.com/api/expanding_objects
 */
export function checkExpand(registry: Registry, operation: Operation, paths: readonly string[]) {
  for (const path of paths) {
    if (path === 'total_count' && operation.countable === true) continue
    const fields = path.split('.')
    if (fields.filter((field) => field !== 'data').length > MAX_DEPTH)
      throw refusal(
        `You cannot expand more than ${MAX_DEPTH} levels of a property. Property: ${path}`,
      )
    let shape: Shape | undefined = { kind: operation.returns, list: operation.list }
    for (const field of fields) {
      shape = nextShape(registry, shape, field)
      if (shape === undefined) throw refusal(`This property cannot be expanded (${path}).`)
    }
  }
}

/** A copy of the response in which the ids at these paths are replaced by their objects. */
export function applyExpand(
  registry: Registry,
  scope: Scope,
  operation: Operation,
  response: unknown,
  paths: readonly string[],
): unknown {
  const tree: Tree = {}
  for (const path of paths) {
    let node = tree
    for (const field of path.split('.')) {
      node[field] ??= {}
      node = node[field]
    }
  }
  return expandFields(
    registry,
    scope,
    { kind: operation.returns, list: operation.list },
    response,
    tree,
  )
}

function nextShape(registry: Registry, shape: Shape, field: string): Shape | undefined {
  if (shape.list) return field === 'data' ? { kind: shape.kind, list: false } : undefined
  const entry = registry.get(shape.kind)?.expandable[field]
  return entry && { kind: entry.kind, list: entry.list ?? false }
}

function expandFields(
  registry: Registry,
  scope: Scope,
  shape: Shape,
  value: unknown,
  tree: Tree,
): unknown {
  if (!isPlain(value)) return value
  const copy: Plain = { ...value }
  for (const [field, below] of Object.entries(tree)) {
    const next = nextShape(registry, shape, field)
    if (next === undefined) continue
    const full = shape.list ? copy[field] : loadField(registry, scope, shape.kind, copy, field)
    copy[field] = Array.isArray(full)
      ? full.map((item) => expandFields(registry, scope, next, item, below))
      : expandFields(registry, scope, next, full, below)
  }
  return copy
}

function loadField(registry: Registry, scope: Scope, kind: string, object: Plain, field: string) {
  const entry = registry.get(kind)?.expandable[field]
  const current = object[field]
  if (entry?.load !== undefined && typeof object['id'] === 'string')
    return entry.load(scope, object['id'])
  if (entry?.inline === true) return current
  if (Array.isArray(current))
    return current.map((item) => resolveReference(scope, entry?.kind, item))
  return resolveReference(scope, entry?.kind, current)
}

/** The object with this id; any other value, or an id without an object, is returned unchanged. */
function resolveReference(scope: Scope, kind: string | undefined, value: unknown): unknown {
  return typeof value === 'string' ? (scope.account.find(value, kind) ?? value) : value
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function refusal(message: string): StripeError {
  return new StripeError(400, 'invalid_request_error', message, { param: 'expand' })
}
