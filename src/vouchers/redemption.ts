/** One use of one code, by one order of the ticket shop. */
export type Redemption = {
  id: string
  code: string
  batchId: string
  purchaseId: string | null
  /** The shop's own name for what the code was used for. */
  reference: string
  /** Id of the API key. */
  redeemedBy: string
  createdAt: Date
  /** When the use was given back; null: it counts. */
  releasedAt: Date | null
  releasedBy: string | null
}
