import { expect, it } from 'vitest'
import { AppError } from '../../src/shared/errors.ts'
import {
  createRedeemer,
  redeemVoucher,
  releaseRedemption,
} from '../../src/vouchers/redeem-voucher.ts'
import { listRedemptions, type RedemptionStatus } from '../../src/vouchers/redemption.ts'
import { confirmRedemption, endDueHolds } from '../../src/vouchers/redemption-holds.ts'
import { getVoucher } from '../../src/vouchers/voucher-store.ts'
import { generator } from '../support/random.ts'
import { type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()
const actor = { kind: 'staff' as const, id: 'key_test' }
const ORDERS = 5
const STEPS = 60

type Entry = { id: string; order: string; status: RedemptionStatus }
/** The status of the answer, or the refusal. */
type Outcome = string

/** One voucher as the documentation describes it: a list, without clocks, locks and counters. */
class Model {
  readonly entries: Entry[] = []
  readonly maxUses: number
  isOff = false
  isDisputed = false
  isFrozen = false

  constructor(maxUses: number) {
    this.maxUses = maxUses
  }

  countOf(status: RedemptionStatus): number {
    return this.entries.filter((entry) => entry.status === status).length
  }

  /** After a change of state and after a release: a dispute freezes a voucher with uses left. */
  align(): void {
    this.isFrozen = this.isDisputed && this.countOf('redeemed') < this.maxUses
  }

  get blockedBy(): string | null {
    if (this.isOff) return 'deactivated'
    return this.isFrozen ? 'frozen' : null
  }

  get invalidReason(): string | null {
    if (this.blockedBy !== null) return this.blockedBy
    return this.countOf('held') + this.countOf('redeemed') >= this.maxUses ? 'used_up' : null
  }

  useOf(order: string): Entry | undefined {
    return this.entries.find(
      (entry) => entry.order === order && ['held', 'redeemed'].includes(entry.status),
    )
  }

  take(order: string, status: 'held' | 'redeemed', id: string): Outcome {
    const use = this.useOf(order)
    if (use !== undefined) {
      return use.status === 'held' && status === 'redeemed' ? this.confirm(use) : use.status
    }
    if (this.invalidReason !== null) return this.invalidReason
    this.entries.push({ id, order, status })
    return status
  }

  confirm(entry: Entry): Outcome {
    if (entry.status === 'redeemed') return 'redeemed'
    if (entry.status === 'released') return 'wrong_state'
    if (this.blockedBy !== null) return this.blockedBy
    if (entry.status === 'expired') {
      const isLate = this.invalidReason !== null || this.useOf(entry.order) !== undefined
      if (isLate) return 'hold_expired'
    }
    entry.status = 'redeemed'
    return 'redeemed'
  }
}

async function outcomeOf(work: Promise<{ status: string }>): Promise<Outcome> {
  try {
    return (await work).status
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const { invalid_reason: reason } = error.extra
    return typeof reason === 'string' ? reason : error.code
  }
}

/** Runs a random step here and in the model. @returns both outcomes. */
async function step(
  tenant: Tenant,
  { code, purchaseId }: { code: string; purchaseId: string },
  model: Model,
  random: (below: number) => number,
): Promise<[Outcome, Outcome]> {
  const { conferenceId } = tenant
  const entry = model.entries[random(Math.max(1, model.entries.length))]
  const kind = random(12)
  if (kind < 5 || entry === undefined) {
    const order = `order-${random(ORDERS)}`
    const holdSeconds = random(5) === 0 ? undefined : 600
    const request = { code, reference: order, actor, holdSeconds }
    let id = ''
    const taken = (async () => {
      const { redemption } =
        random(2) === 0
          ? await createRedeemer(tenant.db)(conferenceId, request)
          : await tenant.run((trx) => redeemVoucher(trx, conferenceId, request))
      id = redemption.id
      return redemption
    })()
    const real = await outcomeOf(taken)
    return [real, model.take(order, holdSeconds === undefined ? 'redeemed' : 'held', id)]
  }
  if (kind < 7) {
    const confirmed = tenant.run((trx) => confirmRedemption(trx, conferenceId, entry.id))
    return [await outcomeOf(confirmed), model.confirm(entry)]
  }
  if (kind < 8) {
    const released = tenant.run((trx) => releaseRedemption(trx, conferenceId, entry.id, actor))
    const wasRedeemed = entry.status === 'redeemed'
    if (entry.status !== 'expired') entry.status = 'released'
    if (wasRedeemed) model.align()
    return [await outcomeOf(released), entry.status]
  }
  if (kind < 10) {
    await tenant.run(async (trx) =>
      trx('redemptions')
        .where({ id: entry.id, is_held: true })
        .update({ expires_at: trx.raw(`now() - interval '1 second'`) }),
    )
    if (entry.status === 'held') entry.status = 'expired'
  } else if (kind < 11) {
    await endDueHolds(tenant.db)
  } else {
    model.isDisputed = random(3) === 0
    model.isOff = random(4) === 0
    await tenant.align(purchaseId, { disputed: model.isDisputed })
    // A frozen one cannot be activated.
    await (model.isOff ? tenant.deactivate(code) : tenant.activate(code).catch(() => null))
    model.align()
  }
  return ['', '']
}

it.each(Array.from({ length: 8 }, (_, i) => i + 1))(
  'holds agree with a list of uses after every step of random history %i (issue 10, line 16)',
  async (seed) => {
    const next = generator(seed)
    const random = (below: number) => Math.floor(next() * below)
    const tenant = await tenants.create()
    const maxUses = 1 + random(3)
    const sold = await tenant.sold(1, { maxUses })
    const model = new Model(maxUses)
    for (let n = 0; n < STEPS; n += 1) {
      const [real, expected] = await step(tenant, sold, model, random)
      expect(real, `step ${n}`).toBe(expected)
      const [voucher, list] = await tenant.run(async (trx) => [
        await getVoucher(trx, tenant.conferenceId, sold.code),
        (await listRedemptions(trx, tenant.conferenceId, {}, { limit: 100 })).data,
      ])
      expect(voucher, `voucher after step ${n}`).toMatchObject({
        timesUsed: model.countOf('redeemed'),
        usesHeld: model.countOf('held'),
        invalidReason: model.invalidReason,
      })
      const statuses = new Map(list.map(({ id, status }) => [id, status]))
      expect(statuses, `list after step ${n}`).toEqual(
        new Map(model.entries.map(({ id, status }) => [id, status])),
      )
    }
  },
)
