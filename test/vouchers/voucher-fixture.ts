import { afterAll, beforeAll } from 'vitest'
import { connect, type Db, type Tx } from '../../src/db/connect.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { newId } from '../../src/shared/ids.ts'
import { activateVoucher, deactivateVoucher } from '../../src/vouchers/change-voucher-state.ts'
import { alignVouchers, NO_TARGET, type VoucherTarget } from '../../src/vouchers/freeze-vouchers.ts'
import type { BatchSpec } from '../../src/vouchers/issue-vouchers.ts'
import { type CodeMaker, issueVouchers } from '../../src/vouchers/issue-vouchers.ts'
import type { Voucher } from '../../src/vouchers/voucher.ts'
import { type VoucherCounts, voucherCountsOf } from '../../src/vouchers/voucher-counts.ts'
import { DEFAULT_TERMS, type VoucherTerms } from '../../src/vouchers/voucher-terms.ts'
import { useTestDatabase } from '../support/test-database.ts'

export type Stored = {
  id: number
  ordinal: number
  code: string
  state: string
  times_used: number
  deactivated_by: string | null
  held_by_refund: boolean
  held_by_dispute: boolean
}

type Issue = {
  count: number
  terms?: Partial<VoucherTerms>
  purchaseId?: string | null
  source?: BatchSpec['source']
  sponsorId?: string | null
  makeCodes?: CodeMaker
}

/** One conference with a sponsor, and the operations that the tests of vouchers use. */
export class Tenant {
  readonly db: Db
  readonly conferenceId = newId('conference')
  readonly sponsorId = newId('sponsor')

  constructor(db: Db) {
    this.db = db
  }

  run<T>(work: (trx: Tx) => Promise<T>): Promise<T> {
    return withTenant(this.db, { conferenceId: this.conferenceId }, work)
  }

  async create(maxQuantity = 1_000_000): Promise<this> {
    const { conferenceId } = this
    await this.run(async (trx) => {
      await trx('conferences').insert({
        id: conferenceId,
        slug: conferenceId.slice(5).toLowerCase(),
        name: 'PyCon',
        currency: 'EUR',
        max_quantity: maxQuantity,
      })
    })
    await this.addSponsor(this.sponsorId, 'acme')
    return this
  }

  async addSponsor(id: string, slug: string): Promise<string> {
    const row = { conference_id: this.conferenceId, id, name: slug, slug }
    await this.run(async (trx) => trx('sponsors').insert(row))
    return id
  }

  async purchase(quantity: number, sponsorId: string | null = this.sponsorId): Promise<string> {
    const id = newId('purchase')
    await this.run(async (trx) => {
      await trx('bulk_purchases').insert({
        conference_id: this.conferenceId,
        id,
        sponsor_id: sponsorId,
        quantity,
        unit_amount: 10,
        total_amount: quantity * 10,
        currency: 'EUR',
        description: 'Vouchers',
        voucher_type: 'comp',
        discount_value: 0,
        max_uses: 1,
        unlocks_hidden_tickets: false,
        code_prefix: 'BULK-ACME-',
        requested_by: 'key_test',
      })
    })
    return id
  }

  spec({ count, terms = {}, purchaseId = null, source, sponsorId }: Issue): BatchSpec {
    return {
      conferenceId: this.conferenceId,
      source: source ?? (purchaseId === null ? 'staff' : 'purchase'),
      purchaseId,
      sponsorId: sponsorId === undefined ? this.sponsorId : sponsorId,
      count,
      currency: 'EUR',
      ticketTypeId: null,
      addOnId: null,
      terms: { ...DEFAULT_TERMS, prefix: 'BULK-ACME-', ...terms },
      createdBy: 'key_test',
    }
  }

  issue(issue: Issue): Promise<{ batchId: string; issued: number }> {
    return this.run((trx) => issueVouchers(trx, this.spec(issue), issue.makeCodes))
  }

  /** A purchase whose vouchers are issued. */
  async sold(count: number, terms: Partial<VoucherTerms> = {}) {
    const purchaseId = await this.purchase(count)
    const { batchId } = await this.issue({ count, purchaseId, terms })
    const codes = (await this.stored(batchId)).map(({ code }) => code)
    return { purchaseId, batchId, codes, code: codes[0] ?? '' }
  }

  /** Aligns the purchase's vouchers; absent: nothing is inactive, as many are frozen, no dispute is open. */
  align(purchaseId: string, target: Partial<VoucherTarget>): Promise<{ missing: number }> {
    const { inactive = 0, frozen = inactive } = target
    const ref = { conferenceId: this.conferenceId, purchaseId }
    return this.run((trx) => alignVouchers(trx, ref, { ...NO_TARGET, ...target, inactive, frozen }))
  }

  deactivate(code: string): Promise<Voucher> {
    return this.run((trx) => deactivateVoucher(trx, this.conferenceId, code))
  }

  activate(code: string): Promise<Voucher> {
    return this.run((trx) => activateVoucher(trx, this.conferenceId, code))
  }

  /** From now on, the conference's outbound events are stored for an endpoint. */
  async subscribe(): Promise<void> {
    await this.run(async (trx) =>
      trx('webhook_endpoints').insert({
        conference_id: this.conferenceId,
        id: newId('webhookEndpoint'),
        url: 'https://example.com/hook',
        secret_sealed: 'sealed',
        secret_last4: 'last',
      }),
    )
  }

  /** The outbound events since `subscribe`, oldest first. */
  async published(): Promise<{ type: string; data: object }[]> {
    const bodies = await this.run(async (trx) =>
      trx('webhook_deliveries').orderBy(['created_at', 'id']).pluck<string[]>('body'),
    )
    return bodies.map((body) => {
      const { type, data } = JSON.parse(body) as { type: string; data: object }
      return { type, data }
    })
  }

  /** The rows of the batch's vouchers, by ordinal. */
  stored(batchId: string): Promise<Stored[]> {
    return this.run(async (trx) =>
      trx('vouchers').where({ batch_id: batchId }).orderBy('ordinal').select<Stored[]>(),
    )
  }

  /** The counts of the purchase's vouchers that the database keeps; undefined: there are none. */
  async counts(purchaseId: string): Promise<VoucherCounts | undefined> {
    const { rows } = await this.run((trx) =>
      trx.raw<{ rows: { counts: VoucherCounts | null }[] }>(
        `select ${voucherCountsOf('p')} as counts from bulk_purchases p where p.id = ?`,
        [purchaseId],
      ),
    )
    return rows[0]?.counts ?? undefined
  }

  /** Ordinals of the batch's vouchers that match. */
  async ordinals(batchId: string, matches: (voucher: Stored) => boolean): Promise<number[]> {
    return (await this.stored(batchId)).filter(matches).map(({ ordinal }) => ordinal)
  }

  /** Takes a use of one of the batch's vouchers without checking its validity. */
  async use(batchId: string, ordinals: number[], timesUsed = 1): Promise<void> {
    await this.run(async (trx) =>
      trx('vouchers')
        .where({ batch_id: batchId })
        .whereIn('ordinal', ordinals)
        .update({ times_used: timesUsed }),
    )
  }
}

/** A database for the test file, and tenants in it. */
export function useTenants() {
  const database = useTestDatabase()
  let db: Db | undefined
  beforeAll(() => {
    db = connect(database.connectionString, { max: 60, acquireTimeoutMs: 25_000 })
  })
  afterAll(async () => {
    await db?.destroy()
  })
  return {
    get db(): Db {
      if (db === undefined) throw new Error('The database exists from beforeAll on.')
      return db
    },
    get connectionString() {
      return database.connectionString
    },
    get adminConnectionString() {
      return database.adminConnectionString
    },
    create(maxQuantity?: number): Promise<Tenant> {
      return new Tenant(this.db).create(maxQuantity)
    },
  }
}

/** How many connections to the database wait for a lock. */
export async function waiting(tenant: Tenant): Promise<number> {
  const { rows } = await tenant.db.raw<{ rows: { n: number }[] }>(
    `select count(*) as n from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rows[0]?.n ?? 0
}
