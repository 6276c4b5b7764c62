import type { Placement } from './conference-scope.ts'

/** Distributed by `conference_id` and colocated: one conference is on one node. docs/scaling.md */
const DISTRIBUTED = [
  'add_ons',
  'billing_plans',
  'bulk_purchases',
  'charges',
  'customers',
  'discount_changes',
  'erasures',
  'money_movements',
  'payment_attempts',
  'payment_disputes',
  'payment_refunds',
  'payments',
  'published_vouchers',
  'purchase_flags',
  'purchase_transitions',
  'recorded_payments',
  'recorded_refunds',
  'redemptions',
  'refund_requests',
  'sponsor_levels',
  'sponsors',
  'subscription_items',
  'subscriptions',
  'sync_run_ids',
  'sync_runs',
  'text_search',
  'ticket_types',
  'voucher_assignments',
  'voucher_batches',
  'voucher_count_changes',
  'voucher_counts',
  'voucher_issue_times',
  'voucher_publications',
  'vouchers',
] as const

/** The mirror: one table for each resource of Stripe, with the same distribution. */
const MIRROR = 'stripe.'

/** A copy on each node, with the reason. */
export const REFERENCE: Readonly<Record<string, string>> = {
  conferences: 'found by its slug before the conference is known; every tenant table refers to it',
  actor_names: 'joined with the history; it also names operators, who belong to no conference',
  erased_subjects: 'read by the redaction on nodes and, for events, on the coordinator',
  erasure_salts: 'read by the redaction on nodes and, for events, on the coordinator',
}

/** On the coordinator, with the reason. */
export const LOCAL: Readonly<Record<string, string>> = {
  stripe_events: 'the inbox: claimed for all conferences together with `for update skip locked`',
  webhook_deliveries: 'sent by jobs, and compared with the jobs of all conferences',
  webhook_endpoints: 'its deliveries refer to it',
  webhook_secrets: 'compared with the inbox in the statement that stores an event',
  api_keys: 'found by its hash before the conference is known; those of operators have none',
  users: 'found by an address before the conference is known; operators have none',
  sessions: 'belongs to a person, not to a conference',
  sign_in_links: 'belongs to a person, not to a conference',
  audit_log: 'also records what operators change, which belongs to no conference',
  idempotency_keys: 'found by the caller, who may be an operator',
  rate_limits: 'limits addresses and keys',
  stripe_request_budgets: 'limits accounts of Stripe, which conferences may share',
  write_positions: 'positions in the log of one server, for its replicas',
  processes: 'the processes of the service',
  timers: 'the timers of the service',
  encryption_check: 'one row for the service',
  schema_version: 'one row for the service',
  knex_migrations: 'the migrations',
  knex_migrations_lock: 'the migrations',
}

const PLACES = new Map<string, Placement>([
  ...DISTRIBUTED.map((table) => [table, 'distributed'] as const),
  ...Object.keys(REFERENCE).map((table) => [table, 'reference'] as const),
  ...Object.keys(LOCAL).map((table) => [table, 'local'] as const),
])

/** All tables outside the mirror. */
export const PLACED: readonly string[] = [...PLACES.keys()]

/** Where a table is, or null for what is not one of ours. Names outside `public` have their schema. */
export function placementOf(table: string): Placement | null {
  if (table.startsWith(MIRROR)) return 'distributed'
  // The jobs of graphile-worker.
  if (table.startsWith('graphile_worker.')) return 'local'
  return PLACES.get(table) ?? null
}
