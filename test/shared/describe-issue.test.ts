import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { describeIssue, type Issue } from '../../src/shared/describe-issue.ts'
import { invalidFields } from '../../src/shared/errors.ts'

function describeFirst(schema: z.ZodType, input: unknown): string {
  const issue = schema.safeParse(input).error?.issues[0]
  if (issue === undefined) throw new Error('The input is valid')
  return describeIssue(issue as Issue, input === undefined)
}

describe('a broken rule of a schema', () => {
  it.each([
    [z.int(), undefined, 'is required'],
    [z.enum(['a', 'b']), undefined, 'is required'],
    [z.string({ error: 'must be a name' }), undefined, 'is required'],
    [z.union([z.string(), z.int()]), undefined, 'is required'],
    [z.string(), 7, 'must be a string'],
    [z.number(), 'x', 'must be a number'],
    [z.int(), 1.5, 'must be an integer'],
    [z.boolean(), 'yes', 'must be true or false'],
    [z.array(z.string()), {}, 'must be an array'],
    [z.strictObject({}), [], 'must be an object'],
    [z.int().min(1), 0, 'must be at least 1'],
    [z.int().max(5), 6, 'must be at most 5'],
    [z.number().positive(), 0, 'must be greater than 0'],
    [z.string().min(1), '', 'must not be empty'],
    [z.string().min(16), 'x', 'must have at least 16 characters'],
    [z.string().max(2), 'xyz', 'must have at most 2 characters'],
    [z.array(z.int()).max(1), [1, 2], 'must have at most 1 item'],
    [z.number().multipleOf(5), 7, 'must be a multiple of 5'],
    [z.enum(['a', 'b']), 'c', 'must be one of: a, b'],
    [z.literal('operator'), 'staff', 'must be operator'],
    [z.email(), 'x', 'must be an email address'],
    [z.string().regex(/^[a-z]+$/, 'must be lower case'), 'X', 'must be lower case'],
    [z.string().regex(/^[a-z]+$/), 'X', 'is not valid'],
    [
      z.record(z.string().max(2), z.int()),
      { abc: 1 },
      'has a name that must have at most 2 characters',
    ],
  ])('%o refuses %j: %s', (schema, input, expected) => {
    expect(describeFirst(schema, input)).toBe(expected)
  })
})

describe('the detail of a validation error', () => {
  it.each([
    ['/quantity', 'is required', 'quantity is required'],
    ['/items/0/plan', 'is required', 'items[0].plan is required'],
    ['/a~1b', 'is not a known field', 'a/b is not a known field'],
    ['query/limit', 'must be at most 100', 'limit must be at most 100'],
    ['header/idempotency-key', 'is too long', 'The header idempotency-key is too long'],
    ['/', 'must be an object', 'The request body must be an object'],
    ['/sponsor', 'This conference has no sponsor "x".', 'This conference has no sponsor "x".'],
  ])('%s %s: %s', (pointer, detail, sentence) => {
    const errors = [{ pointer, detail }]
    expect(invalidFields(errors)).toMatchObject({ message: sentence, errors })
  })
})
