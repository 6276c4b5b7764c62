import type { z } from 'zod'
import { invalidParameter, type StripeError } from '../core/stripe-error.ts'

type Issue = z.core.$ZodIssue

/**
 * The one error that Stripe would answer for a set of broken parameters: unknown ones are named
 * first, all at once; otherwise the first broken rule.
 */
export function paramError(nested: readonly Issue[]): StripeError {
  const issues = nested.map(unwrap)
  const unknown = issues.flatMap(unknownParams)
  const [first] = unknown
  if (first !== undefined) {
    const noun = unknown.length === 1 ? 'parameter' : 'parameters'
    const message = `Received unknown ${noun}: ${unknown.join(', ')}`
    return invalidParameter(first, message, 'parameter_unknown')
  }
  const [issue] = issues
  if (issue === undefined) throw new Error('paramError needs an issue')
  return ruleError(issue)
}

/** The inner issue that `emptyable` and `timeRange` passed on, under the path of the whole. */
function unwrap(issue: Issue): Issue {
  const inner = issue.code === 'custom' ? issue.params?.['issue'] : undefined
  if (inner === undefined) return issue
  return unwrap({ ...(inner as Issue), path: issue.path }) // only passOn() sets it
}

function unknownParams(issue: Issue): string[] {
  if (issue.code !== 'unrecognized_keys') return []
  return issue.keys.map((key) => paramName([...issue.path, key]))
}

function ruleError(issue: Issue): StripeError {
  const param = paramName(issue.path)
  const code = issue.code === 'custom' ? customCode(issue.params) : undefined
  if (code === 'parameter_missing')
    return invalidParameter(param, `Missing required param: ${param}.`, code)
  if (code === 'parameter_invalid_empty')
    return invalidParameter(
      param,
      `You passed an empty string for '${param}'. We assume empty values are an attempt to unset a parameter; however '${param}' cannot be unset. You should remove '${param}' from your request or supply a non-empty value.`,
      code,
    )
  if (issue.code === 'invalid_type' && issue.expected === 'object')
    return invalidParameter(param, 'Invalid object')
  return invalidParameter(param, issue.message, code)
}

function customCode(params: Record<string, unknown> | undefined): string | undefined {
  const code = params?.['code']
  return typeof code === 'string' ? code : undefined
}

/** `['line_items', 0, 'quantity']` → `line_items[0][quantity]`. */
function paramName(path: readonly PropertyKey[]): string {
  const [head, ...rest] = path.map(String)
  return [head ?? '', ...rest.map((key) => `[${key}]`)].join('')
}
