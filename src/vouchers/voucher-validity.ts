/** Why a code cannot be redeemed, in the order in which the reasons are looked for. */
export const INVALID_REASONS = [
  'deactivated',
  'frozen',
  'published',
  'used_up',
  'not_yet_valid',
  'expired',
] as const

export type InvalidReason = (typeof INVALID_REASONS)[number]

/**
 * SQL: the reason why voucher `v` of batch `b` cannot be redeemed at this moment, or null. The only
 * place where validity is decided, for look-ups and redemptions alike, so they cannot disagree. The
 * clock is the database's, read when the statement starts and not when its transaction did, since a
 * redemption may have waited for a lock in between.
 */
export const INVALID_REASON = `case
  when v.deactivated_by is not null then 'deactivated'
  when v.held_by_refund or v.held_by_dispute then 'frozen'
  when b.published_at is not null then 'published'
  when v.times_used >= v.max_uses then 'used_up'
  when b.valid_from > statement_timestamp() then 'not_yet_valid'
  when b.valid_until <= statement_timestamp() then 'expired'
end`
