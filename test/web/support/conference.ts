import { beforeAll } from 'vitest'
import type { Scope } from '../../../src/shared/caller.ts'
import { createConference, unique } from '../../support/fixtures.ts'
import type { Body, TestApp } from '../../support/test-app.ts'

/** A conference for the tests of a file, and people who may use it. */
export function useConference(app: TestApp, settings: Body = {}) {
  const conference = {} as Awaited<ReturnType<typeof createConference>>
  beforeAll(async () => {
    Object.assign(conference, await createConference(app, settings))
  })

  /** @returns the address of a new person. */
  async function invite(rights: Body): Promise<string> {
    const email = `${unique('ada')}@example.org`
    const body = { email, ...rights }
    const { status } = await app.request('POST', `${conference.path}/users`, { body })
    if (status !== 201) throw new Error(`The invitation was answered with ${status}`)
    return email
  }

  return {
    conference,
    invite,
    inviteStaff: (scopes: Scope[]) => invite({ name: 'Sam Staff', role: 'staff', scopes }),
  }
}
