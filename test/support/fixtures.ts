import type { Scope } from '../../src/shared/caller.ts'
import type { Answer, Body, RequestOptions, TestProcess } from './test-app.ts'

type Requester = Pick<TestProcess, 'request'>

type Made = Body & { id: string }

let counter = 0

/** Distinct in this file, and in parallel calls: `acme-1`, `acme-2`, … */
export function unique(word: string): string {
  counter += 1
  return `${word}-${counter}`
}

async function post<T extends Made>(
  app: Requester,
  path: string,
  body: Body,
  options: RequestOptions = {},
): Promise<T> {
  const answer = await app.request<T>('POST', path, { ...options, body })
  expectCreated(answer, path)
  return answer.body
}

function expectCreated({ status, body }: Answer<unknown>, path: string): void {
  if (status !== 201) throw new Error(`POST ${path} answered ${status}: ${JSON.stringify(body)}`)
}

export type ConferenceMade = Made & { slug: string }

/** A conference in EUR with a Stripe test key, and its path in the API. */
export async function createConference(
  app: Requester,
  overrides: Body = {},
): Promise<ConferenceMade & { path: string }> {
  const slug = unique('conf')
  const conference = await post<ConferenceMade>(app, '/v1/conferences', {
    slug,
    name: `Conference ${slug}`,
    currency: 'EUR',
    stripe_secret_key: 'sk_test_0123456789abcdef',
    ...overrides,
  })
  return { ...conference, path: `/v1/conferences/${conference.slug}` }
}

export type KeyMade = Made & { key: string }

/** A staff key with these scopes. */
export function createStaffKey(
  app: Requester,
  conference: { path: string },
  scopes: readonly Scope[],
  overrides: Body = {},
): Promise<KeyMade> {
  const body = { role: 'staff', scopes, name: unique('staff'), ...overrides }
  return post<KeyMade>(app, `${conference.path}/api-keys`, body)
}

/** A key of the sponsor. */
export function createSponsorKey(
  app: Requester,
  conference: { path: string },
  sponsor: string,
  overrides: Body = {},
): Promise<KeyMade> {
  const body = { role: 'sponsor', sponsor, name: unique('sponsor'), ...overrides }
  return post<KeyMade>(app, `${conference.path}/api-keys`, body)
}

export type SponsorMade = Made & { slug: string; level: string | null }

export function createSponsor(
  app: Requester,
  conference: { path: string },
  overrides: Body = {},
): Promise<SponsorMade> {
  return post<SponsorMade>(app, `${conference.path}/sponsors`, {
    name: unique('Sponsor'),
    ...overrides,
  })
}

export function createLevel(
  app: Requester,
  conference: { path: string },
  overrides: Body = {},
): Promise<Made & { slug: string }> {
  return post(app, `${conference.path}/sponsor-levels`, { name: unique('Level'), ...overrides })
}

/** A ticket type at 100.00 that sponsors may buy. */
export function createTicketType(
  app: Requester,
  conference: { path: string },
  overrides: Body = {},
): Promise<Made> {
  const body = { name: unique('Ticket'), price: 10_000, bulk_enabled: true, ...overrides }
  return post(app, `${conference.path}/ticket-types`, body)
}

export function createAddOn(
  app: Requester,
  conference: { path: string },
  overrides: Body = {},
): Promise<Made> {
  const body = { name: unique('Add-on'), price: 2_500, bulk_enabled: true, ...overrides }
  return post(app, `${conference.path}/add-ons`, body)
}
