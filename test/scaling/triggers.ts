/** What happens to a trigger when its table is distributed. */
export type TriggerPlan = {
  /** Names of triggers, or the function that several tables share. */
  trigger: string
  /** The tables that its function reads and writes. */
  touches: readonly string[]
  /** `works`: on its node alone. `change`: must become a statement of the writing flow first. */
  on: 'works' | 'change'
  /** Why it works, or the statement that replaces it. */
  how: string
}

const OF_THE_SAME_ROW =
  'it touches only rows of the conference of its own row, which are on the same node'

/**
 * Triggers on distributed and reference tables. Citus creates them only with `citus.enable_unsafe_triggers`, and a
 * trigger that reads or writes another node fails. Those on tables of the coordinator need no entry. docs/scaling.md
 */
export const TRIGGERS: readonly TriggerPlan[] = [
  {
    trigger: 'redact_mirror_row',
    touches: ['erased_subjects', 'erasure_salts'],
    on: 'works',
    how: 'it reads reference tables, of which its node has a copy',
  },
  {
    trigger: 'keep_recorded_payment',
    touches: ['recorded_payments'],
    on: 'works',
    how: OF_THE_SAME_ROW,
  },
  { trigger: 'set_purchased_at', touches: ['bulk_purchases'], on: 'works', how: OF_THE_SAME_ROW },
  {
    trigger: 'bulk_purchases_index_text',
    touches: ['text_search'],
    on: 'works',
    how: OF_THE_SAME_ROW,
  },
  { trigger: 'sponsors_index_text', touches: ['text_search'], on: 'works', how: OF_THE_SAME_ROW },
  ...[
    'payments_add_movement',
    'payment_refunds_add_movement',
    'payment_disputes_add_movement',
    'recorded_payments_add_movement',
    'recorded_refunds_add_movement',
  ].map((trigger) => ({
    trigger,
    touches: ['bulk_purchases', 'money_movements'],
    on: 'works' as const,
    how: OF_THE_SAME_ROW,
  })),
  {
    trigger: 'voucher_batches_add_issue_time',
    touches: ['money_movements', 'voucher_issue_times'],
    on: 'works',
    how: OF_THE_SAME_ROW,
  },
  {
    trigger: 'refuse_change_of_batch',
    touches: [],
    on: 'works',
    how: 'it only refuses; Citus itself refuses to change conference_id',
  },
  {
    trigger: 'check_batch_of_vouchers',
    touches: ['voucher_batches'],
    on: 'change',
    how: `a foreign key (conference_id, batch_id) again, as before migration 0054. Citus supports it between colocated tables; a transition table in a trigger of a shard is in none of its tests. It costs a third of the time of issuing`,
  },
  {
    trigger: 'refuse_deletion_of_batch',
    touches: ['vouchers'],
    on: 'change',
    how: 'the same foreign key refuses the deletion',
  },
  {
    trigger: 'count_changed_vouchers',
    touches: ['voucher_count_changes'],
    on: 'change',
    how: `each statement that changes vouchers (redeem-voucher, redemption-holds, freeze-vouchers, change-voucher-state) returns the state and the uses before and after, and a common table expression of the same statement inserts their sum by batch into voucher_count_changes`,
  },
  {
    trigger: 'record_change',
    touches: ['audit_log'],
    on: 'change',
    how: `audit_log is on the coordinator, which a shard cannot reach. The routes that write conferences, sponsors, sponsor_levels, ticket_types and add_ons insert the same row into audit_log in their transaction`,
  },
]

/** Foreign keys that Citus refuses, from a table of the coordinator to a distributed one, with their replacement. */
export const FOREIGN_KEYS_TO_REPLACE: Readonly<Record<string, string>> = {
  api_keys_sponsor_fkey:
    'select 1 from sponsors where conference_id = $1 and id = $2 for key share, before the insert; no sponsor is ever deleted',
  users_sponsor_fkey:
    'select 1 from sponsors where conference_id = $1 and id = $2 for key share, before the insert; no sponsor is ever deleted',
}

/** Triggers of coordinator tables that reach a reference table, which Citus refuses inside the trigger of a local table. */
export const LOCAL_TRIGGERS_TO_REPLACE: Readonly<Record<string, string>> = {
  api_keys_name_actor:
    'issue-api-key.ts: insert into actor_names … on conflict (id) do update set name = excluded.name',
  users_name_actor:
    'manage-users.ts: insert into actor_names … on conflict (id) do update set name = excluded.name',
}
