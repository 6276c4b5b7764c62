import type { Body, TestProcess } from '../support/test-app.ts'

/** The codes of a free purchase that staff created and approved. */
export async function freePurchase(
  app: Pick<TestProcess, 'request'>,
  conference: { path: string },
  order: Body & { quantity: number },
): Promise<{ purchase: string; codes: string[]; code: string }> {
  const body = { unit_amount: 0, description: 'Free entry', ...order }
  const made = await app.request<{ id: string }>('POST', `${conference.path}/purchases`, { body })
  const path = `${conference.path}/purchases/${made.body.id}`
  const approved = await app.request('POST', `${path}/approve`)
  if (approved.status !== 200) throw new Error(JSON.stringify([made.body, approved.body]))
  const list = await app.request<{ data: { code: string }[] }>('GET', `${path}/vouchers?limit=100`)
  const codes = list.body.data.map(({ code }) => code)
  return { purchase: made.body.id, codes, code: codes[0] ?? '' }
}

/** The parts of a list response that tests look at. */
export type ListBody<T = Body> = { data: T[]; has_more: boolean; next_cursor: string | null }
