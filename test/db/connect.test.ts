import { describe, expect, it } from 'vitest'
import { divideConnections } from '../../src/db/connect.ts'

describe('the connections of a process', () => {
  it.each([
    ['all', 16, { api: 6, webhooks: 3, exports: 2, jobs: 5 }],
    ['serve', 16, { api: 9, webhooks: 5, exports: 2, jobs: 0 }],
    ['work', 16, { api: 0, webhooks: 0, exports: 0, jobs: 16 }],
    ['all', 4, { api: 1, webhooks: 1, exports: 1, jobs: 1 }],
    ['all', 2, { api: 1, webhooks: 1, exports: 1, jobs: 1 }],
  ] as const)('are divided among its kinds of work: RUN=%s, %i', (role, total, shares) => {
    expect(divideConnections(total, role)).toEqual(shares)
  })
})
