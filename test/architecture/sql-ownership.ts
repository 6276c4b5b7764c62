import { type SourceTree, withoutComments } from './source-tree.ts'

/** Each table of the schema and the folder whose files alone name it in SQL. */
export const OWNERS: Readonly<Record<string, string>> = {
  api_keys: 'src/access/',
  actor_names: 'src/access/',
  users: 'src/access/',
  audit_log: 'src/access/',
  sign_in_links: 'src/access/',
  sessions: 'src/access/',
  rate_limits: 'src/http/',
  idempotency_keys: 'src/http/',
  processes: 'src/jobs/',
  timers: 'src/jobs/',
  schema_version: 'src/db/',
  text_search: 'src/db/',
  write_positions: 'src/db/',
  conferences: 'src/conferences/',
  webhook_secrets: 'src/conferences/',
  encryption_check: 'src/conferences/',
  sponsors: 'src/sponsors/',
  sponsor_levels: 'src/sponsors/',
  ticket_types: 'src/catalog/',
  add_ons: 'src/catalog/',
  webhook_endpoints: 'src/notifications/',
  webhook_deliveries: 'src/notifications/',
  vouchers: 'src/vouchers/',
  voucher_batches: 'src/vouchers/',
  voucher_counts: 'src/vouchers/',
  voucher_count_changes: 'src/vouchers/',
  voucher_issue_times: 'src/vouchers/',
  voucher_assignments: 'src/vouchers/',
  redemptions: 'src/vouchers/',
  published_vouchers: 'src/vouchers/',
  bulk_purchases: 'src/purchases/',
  payment_attempts: 'src/payments/',
  payments: 'src/payments/',
  // Until 0029.
  checkout_attempts: 'src/payments/',
  purchase_payments: 'src/payments/',
  purchase_refunds: 'src/payments/',
  purchase_disputes: 'src/payments/',
  // Until 0050.
  charge_attempts: 'src/payments/',
  charge_refunds: 'src/payments/',
  charge_refund_requests: 'src/payments/',
  payment_refunds: 'src/payments/',
  payment_disputes: 'src/payments/',
  purchase_flags: 'src/purchases/',
  purchase_transitions: 'src/purchases/',
  refund_requests: 'src/payments/',
  recorded_payments: 'src/payments/',
  recorded_refunds: 'src/payments/',
  money_movements: 'src/payments/',
  stripe_request_budgets: 'src/stripe/',
  sync_runs: 'src/mirror/',
  sync_run_ids: 'src/mirror/',
  customers: 'src/billing/',
  charges: 'src/billing/',
  billing_plans: 'src/billing/',
  subscriptions: 'src/billing/',
  subscription_items: 'src/billing/',
  discount_changes: 'src/billing/',
  voucher_publications: 'src/billing/',
  stripe_events: 'src/stripe-events/',
  erasures: 'src/privacy/',
  erased_subjects: 'src/privacy/',
  erasure_salts: 'src/privacy/',
}

/** Statements across domains: one query, or one erasure, is their purpose. */
const COMPARE_DOMAINS = ['src/reports/', 'src/mirror/drift/', 'src/privacy/']

const TABLES = Object.keys(OWNERS).join('|')
// A call of knex that takes a table, such as trx('vouchers as v') or .join<Row>('sponsors', …).
const KNEX = new RegExp(
  String.raw`\b(?:trx|tx|db|knex|from|into|join|leftJoin|innerJoin|table)(?:<[^(;]*?>)?\(\s*'(${TABLES})(?: as \w+)?'`,
  'g',
)
const LITERAL = /`[^`]*`|'(?:[^'\\\n]|\\.)*'/g
const RAW = new RegExp(String.raw`\b(?:from|join|into|update)\s+(?:only\s+)?(${TABLES})\b`, 'g')
// An English sentence may say "from customers"; a statement has one of these words in front.
const STATEMENT = /\b(?:select|insert|update|delete|with|exists)\b[\s\S]*$/

/** A file, and the table of another domain that it names in SQL. */
export type ForeignSql = { file: string; table: string }

/** SQL on tables outside the folder that owns them. */
export function foreignSql(tree: SourceTree): ForeignSql[] {
  return [...tree].flatMap(([file, source]) => {
    if (COMPARE_DOMAINS.some((folder) => file.startsWith(folder))) return []
    const text = withoutComments(source)
    const called = [...text.matchAll(KNEX)].map(([, table = '']) => table)
    const written = [...text.matchAll(LITERAL)].flatMap(([literal]) => {
      const statement = STATEMENT.exec(literal)?.[0] ?? ''
      return [...statement.matchAll(RAW)].map(([, table = '']) => table)
    })
    return [...new Set([...called, ...written])]
      .filter((table) => !file.startsWith(OWNERS[table] ?? ''))
      .map((table) => ({ file, table }))
  })
}
