import { describe, expect, it } from 'vitest'
import type { Tx } from '../../src/db/connect.ts'
import { adminQuery } from '../support/test-connections.ts'
import { type Tenant, useTenants, waiting } from './voucher-fixture.ts'

const tenants = useTenants()

const MISSING = { code: '23503', constraint: 'vouchers_batch_exists' }
const FIXED = { code: '23503', constraint: 'vouchers_batch_fixed' }

const voucherOf = (tenant: Tenant, batchId: string, ordinal: number) => ({
  conference_id: tenant.conferenceId,
  batch_id: batchId,
  ordinal,
  code: `V${ordinal}`,
  code_key: `V${ordinal}`,
  max_uses: 1,
})

/** A batch whose only voucher was deleted. */
async function emptyBatch(tenant: Tenant): Promise<string> {
  const { batchId } = await tenant.issue({ count: 1 })
  await tenant.run(async (trx) => trx('vouchers').delete())
  return batchId
}

const insertVoucher = async (trx: Tx, tenant: Tenant, batchId: string) =>
  trx('vouchers').insert(voucherOf(tenant, batchId, 1))
const deleteBatch = async (trx: Tx, batchId: string) =>
  trx('voucher_batches').where({ id: batchId }).delete()

/** The result, or the error. */
const outcomeOf = (work: Promise<unknown>) => work.catch((error: unknown) => error)

describe('a voucher', () => {
  it('cannot be inserted without a batch, also beside one with a batch', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 1 })
    const insert = (ids: string[]) =>
      tenant.run(async (trx) =>
        trx('vouchers').insert(ids.map((id, i) => voucherOf(tenant, id, i + 2))),
      )
    await expect(insert(['no_batch'])).rejects.toMatchObject(MISSING)
    await expect(insert([batchId, 'no_batch'])).rejects.toMatchObject(MISSING)
    await insert([batchId, batchId])
    expect(await tenant.stored(batchId)).toHaveLength(3)
  })

  it("cannot be inserted into another conference's batch", async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { batchId } = await other.issue({ count: 1 })
    const insert = tenant.run((trx) => insertVoucher(trx, tenant, batchId))
    await expect(insert).rejects.toMatchObject(MISSING)
  })

  it('cannot be moved to another batch or conference, not even by an administrator', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const [from, to] = [await tenant.issue({ count: 1 }), await tenant.issue({ count: 1 })]
    const move = tenant.run(async (trx) =>
      trx('vouchers')
        .where({ batch_id: from.batchId })
        .update({ batch_id: to.batchId, ordinal: 2 }),
    )
    await expect(move).rejects.toMatchObject(FIXED)
    const toConference = `update vouchers set conference_id = '${other.conferenceId}'
      where batch_id = '${from.batchId}'`
    await expect(adminQuery(tenants.adminConnectionString, toConference)).rejects.toMatchObject(
      FIXED,
    )
  })
})

describe('a batch', () => {
  it('cannot be deleted before its vouchers', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 2 })
    const remove = () => tenant.run((trx) => deleteBatch(trx, batchId))
    await expect(remove()).rejects.toMatchObject(MISSING)
    await tenant.run(async (trx) => trx('vouchers').where({ ordinal: 1 }).delete())
    await expect(remove()).rejects.toMatchObject(MISSING)
    await tenant.run(async (trx) => trx('vouchers').delete())
    expect(await remove()).toBe(1)
  })

  it('keeps its id and its conference', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { batchId } = await tenant.issue({ count: 1 })
    const rename = tenant.run(async (trx) => trx('voucher_batches').update({ id: 'other' }))
    await expect(rename).rejects.toMatchObject(FIXED)
    const toConference = `update voucher_batches set conference_id = '${other.conferenceId}',
      sponsor_id = null where id = '${batchId}'`
    await expect(adminQuery(tenants.adminConnectionString, toConference)).rejects.toMatchObject(
      FIXED,
    )
  })

  it('cannot be truncated while there are vouchers', async () => {
    const tenant = await tenants.create()
    await tenant.issue({ count: 1 })
    const truncate = adminQuery(tenants.adminConnectionString, 'truncate voucher_batches cascade')
    await expect(truncate).rejects.toMatchObject(MISSING)
  })

  it('is kept if a voucher is inserted while its deletion waits', async () => {
    const tenant = await tenants.create()
    const batchId = await emptyBatch(tenant)
    let deletion: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await insertVoucher(trx, tenant, batchId)
      deletion = outcomeOf(tenant.run((other) => deleteBatch(other, batchId)))
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await deletion).toMatchObject(MISSING)
    expect(await tenant.stored(batchId)).toHaveLength(1)
  })

  it('gets no voucher if it is deleted while the insert waits', async () => {
    const tenant = await tenants.create()
    const batchId = await emptyBatch(tenant)
    let insert: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await deleteBatch(trx, batchId)
      insert = outcomeOf(tenant.run((other) => insertVoucher(other, tenant, batchId)))
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await insert).toMatchObject(MISSING)
    expect(await tenant.stored(batchId)).toEqual([])
  })

  it('is not deleted by a transaction that may not see its newest vouchers', async () => {
    const tenant = await tenants.create()
    const batchId = await emptyBatch(tenant)
    const deletion = tenant.db.transaction(
      async (trx) => {
        await trx.raw(`select set_config('app.conference_id', ?, true)`, [tenant.conferenceId])
        // The snapshot of this transaction.
        expect(await trx('vouchers').select()).toEqual([])
        await tenant.run((other) => insertVoucher(other, tenant, batchId))
        await deleteBatch(trx, batchId)
      },
      { isolationLevel: 'repeatable read' },
    )
    await expect(deletion).rejects.toMatchObject(MISSING)
    expect(await tenant.stored(batchId)).toHaveLength(1)
  })
})
