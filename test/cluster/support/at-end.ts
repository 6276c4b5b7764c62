import { afterAll } from 'vitest'

const ends: (() => Promise<unknown>)[] = []

/** Runs after the tests of the file, what was added last first. Unlike `afterAll`, also from `beforeAll` and tests. */
export function atEnd(end: () => Promise<unknown>): void {
  ends.push(end)
}

// When the file is loaded: a hook that another hook adds does not run.
afterAll(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
})
