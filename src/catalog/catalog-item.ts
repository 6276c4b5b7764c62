import type { VoucherDefaults } from './voucher-defaults.ts'

export type CatalogKind = 'ticket_type' | 'add_on'

/** Something that vouchers can be bought for. */
export type CatalogItem = {
  id: string
  kind: CatalogKind
  name: string
  description: string | null
  /** Integer minor units of the conference's currency. */
  price: number
  /** Sponsors may see it and buy it in bulk. */
  bulkEnabled: boolean
  /** Sold from (included) and until (excluded); null: no bound. */
  activeFrom: Date | null
  activeUntil: Date | null
  voucherDefaults: VoucherDefaults
  createdAt: Date
  updatedAt: Date
}
