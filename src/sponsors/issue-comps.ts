import type { Tx } from '../db/connect.ts'

type CompsOrder = {
  conferenceId: string
  sponsorId: string
  sponsorSlug: string
  /** 1 or more. */
  count: number
  /** The id of the key that set the level. */
  createdBy: string
}

/** Makes a sponsor's complimentary vouchers within `trx`. Implemented in vouchers/. */
export type IssueComps = (trx: Tx, order: CompsOrder) => Promise<void>
