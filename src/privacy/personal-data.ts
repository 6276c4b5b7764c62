/**
 * What an erasure does with a column:
 *
 * - `none`: nothing, because the column cannot say who somebody is: ids, states, amounts, secrets, and what a
 *   conference publishes about itself.
 * - `text`, `json`, `jsonText` (JSON in a text): replaces the e-mail addresses and names of the subject inside it with `***`.
 * - `clear`: sets it to null where it contains one of them.
 * - `reference`: replaces the whole text where it contains one of them. It stays unique.
 * - `own`: a step of its own, named in docs/privacy.md.
 */
export type Treatment = 'none' | 'text' | 'json' | 'jsonText' | 'clear' | 'reference' | 'own'

export type TableData = {
  /** The primary key after the conference. */
  key: readonly string[]
  columns: ReadonlyMap<string, Treatment>
}

/** Columns by treatment, separated by spaces. */
type Columns = { [T in Treatment]?: string }

function table(key: string, columns: Columns): TableData {
  const entries = Object.entries(columns).flatMap(([treatment, names]) =>
    names.split(/\s+/).map((name): [string, Treatment] => [name, treatment as Treatment]),
  )
  return { key: key === '' ? [] : key.split(' '), columns: new Map(entries) }
}

/** Columns that every mirror table has. A trigger redacts the rows of an erased subject (0070_privacy.ts). */
const mirrored = ({ none = '', own = '' }: { none?: string; own?: string }) =>
  table('id', {
    none: `conference_id id ${none}`.trim(),
    own: `metadata data ${own}`.trim(),
  })

/**
 * Every column of the database that can hold text, and what an erasure does with it. A test compares this list
 * with the migrated schema, so a new column cannot be forgotten.
 */
export const PERSONAL_DATA: Readonly<Record<string, TableData>> = {
  sponsors: table('id', {
    none: 'conference_id id level_id',
    own: 'name slug external_id contact_email',
  }),
  api_keys: table('id', {
    none: 'id conference_id role sponsor_id scopes secret_hash last4 rotated_to created_by',
    text: 'name',
  }),
  users: table('id', {
    none: 'id conference_id role sponsor_id scopes invited_by',
    own: 'email email_key name',
  }),
  // Triggers on keys and users write it.
  actor_names: table('id', { none: 'id conference_id kind', own: 'name' }),
  // Of a person, who signs in once for all conferences.
  sessions: table('id', { none: 'id secret_hash method', own: 'email_key user_agent' }),
  sign_in_links: table('id', { none: 'id secret_hash', own: 'email_key' }),
  customers: table('id', {
    none: 'conference_id id sponsor_id idempotency_key stripe_customer_id created_by',
    own: 'params name email',
  }),
  bulk_purchases: table('id', {
    // The codes, and so their prefix, are in the hands of their holders.
    none: `conference_id id sponsor_id status currency ticket_type_id add_on_id voucher_type code_prefix
      payment_intent_id accepted_payment_intent_id failure_code requested_by approved_by price_source`,
    text: 'description reference failure_message',
  }),
  purchase_transitions: table('purchase_id id', {
    none: 'conference_id purchase_id from_status to_status event cause actor_kind actor_id code',
    text: 'note',
  }),
  purchase_flags: table('purchase_id code fact', {
    none: 'conference_id purchase_id code fact resolved_by resolution',
    text: 'detail note',
  }),
  charges: table('id', {
    none: `conference_id id customer_id sponsor_id status currency payment_method payment_intent_id
      failure_code created_by`,
    text: 'description comment success_url cancel_url failure_message',
    json: 'metadata',
    clear: 'statement_descriptor_suffix',
    reference: 'source_reference',
  }),
  payment_attempts: table('owner_id attempt', {
    none: `conference_id purchase_id charge_id owner_id kind state session_id url payment_intent_id
      payment_method decline failure_code requested_by traceparent`,
    text: 'failure_message',
    json: 'params',
  }),
  payments: table('payment_intent_id', {
    none: 'conference_id purchase_id charge_id owner_id payment_intent_id status currency',
  }),
  payment_refunds: table('id', {
    none: 'conference_id purchase_id charge_id owner_id id payment_intent_id status currency reason failure_reason',
  }),
  payment_disputes: table('id', {
    none: 'conference_id purchase_id charge_id owner_id id payment_intent_id status currency reason',
  }),
  refund_requests: table('id', {
    none: 'conference_id purchase_id charge_id owner_id id payment_intent_id state refund_id requested_by voucher_ids',
    text: 'reason refusal',
  }),
  recorded_payments: table('purchase_id', {
    none: 'conference_id id purchase_id method currency recorded_by',
    text: 'reference note',
  }),
  recorded_refunds: table('purchase_id id', {
    none: 'conference_id id purchase_id recorded_by voucher_ids',
    text: 'reason',
  }),
  money_movements: table('owner_id id', {
    none: 'conference_id purchase_id charge_id owner_id kind source object_id currency item_id',
  }),
  subscriptions: table('id', {
    none: `conference_id id customer_id payment_method coupon state stripe_subscription_id created_by
      cancel_requested_by tax_rates`,
    text: 'refusal',
    json: 'metadata',
  }),
  subscription_items: table('subscription_id ordinal', {
    none: 'conference_id subscription_id plan_id',
  }),
  vouchers: table('id', {
    none: 'conference_id batch_id code code_key deactivated_by state',
    clear: 'assigned_to',
  }),
  voucher_assignments: table('voucher_id', {
    none: 'conference_id sponsor_id assigned_by message',
    own: 'email email_key name',
  }),
  voucher_batches: table('id', {
    none: `conference_id id source purchase_id sponsor_id prefix voucher_type currency ticket_type_id
      add_on_id created_by named_frozen named_inactive`,
  }),
  voucher_issue_times: table('purchase_id', { none: 'conference_id purchase_id source' }),
  voucher_counts: table('batch_id', { none: 'conference_id batch_id' }),
  voucher_count_changes: table('batch_id', { none: 'conference_id batch_id' }),
  redemptions: table('id', {
    none: 'conference_id id redeemed_by released_by',
    reference: 'reference',
  }),
  published_vouchers: table('voucher_id', {
    none: 'conference_id publication_id promotion_code_id',
    text: 'error',
  }),
  voucher_publications: table('id', {
    none: 'conference_id id batch_id state coupon_id coupon_change_id published_by',
    text: 'error',
  }),
  discount_changes: table('id', {
    none: 'conference_id id kind action object_id state actor_kind actor_id',
    text: 'refusal',
    json: 'params',
  }),
  webhook_deliveries: table('id', {
    none: 'conference_id id endpoint_id type state',
    text: 'last_error',
    jsonText: 'body',
  }),
  stripe_events: table('id', {
    none: `conference_id id type api_version object_id payment_intent_id purchase_id source status lane
      mirror_resource mirror_id`,
    text: 'last_error',
    own: 'body',
  }),
  idempotency_keys: table('caller key', {
    none: 'conference_id caller fingerprint resource',
    own: 'key answer_sealed',
  }),
  sync_runs: table('id', {
    none: 'conference_id id resource state started_by ids cursor',
    json: 'details error',
  }),
  sync_run_ids: table('run_id page', { none: 'conference_id run_id ids' }),
  // Hashes of parts of three characters. Triggers follow the change of the texts.
  text_search: table('kind id', { none: 'conference_id kind id grams' }),
  erasures: table('id', {
    none: 'conference_id id subject sponsor_id token state terms_sealed erased stripe_customers requested_by',
  }),
  erased_subjects: table('kind token', { none: 'conference_id kind token' }),
  erasure_salts: table('', { none: 'conference_id salt' }),

  // Names are hidden in it; texts of staff are not.
  audit_log: table('id', {
    none: 'conference_id actor_kind actor_id action object object_id',
    json: 'changes',
  }),

  // What a conference says about itself and what it sells, and its secrets.
  conferences: table('id', {
    none: `id slug name currency stripe_account stripe_secret_key_sealed stripe_secret_key_last4
      allowed_origins events_check_id stripe_key_fingerprint bank_details`,
  }),
  webhook_secrets: table('id', { none: 'conference_id id secret_sealed last4' }),
  webhook_endpoints: table('id', {
    none: 'conference_id id url event_types secret_sealed secret_last4 previous_secret_sealed disabled_by',
    text: 'description',
  }),
  sponsor_levels: table('id', { none: 'conference_id id name slug' }),
  ticket_types: table('id', { none: 'conference_id id name description voucher_defaults' }),
  add_ons: table('id', { none: 'conference_id id name description voucher_defaults' }),
  billing_plans: table('id', {
    none: `conference_id id name currency interval metadata state product_id price_id refusal created_by
      statement_descriptor`,
  }),

  // Of this service, not of one conference.
  encryption_check: table('only_row', { none: 'value_sealed' }),
  // An address or the id of a key, for an hour at most.
  rate_limits: table('key', { none: 'key' }),
  processes: table('id', { none: 'id role worker_ids' }),
  // The id of a key, a user or a conference.
  write_positions: table('writer', { none: 'writer' }),
  timers: table('name', { none: 'name' }),
  stripe_request_budgets: table('account_key', { none: 'account_key' }),
  knex_migrations: table('id', { none: 'name' }),

  // Payloads are ids, texts for operators about conferences, and addresses of mails that are to be sent.
  'graphile_worker._private_jobs': table('id', {
    none: 'key locked_by flags',
    text: 'last_error',
    own: 'payload',
  }),
  'graphile_worker._private_job_queues': table('id', { none: 'queue_name locked_by' }),
  'graphile_worker._private_known_crontabs': table('identifier', { none: 'identifier' }),
  'graphile_worker._private_tasks': table('id', { none: 'identifier' }),

  'stripe.balance_transactions': mirrored({
    none: 'type reporting_category status currency source balance_type fee_details',
    own: 'description',
  }),
  'stripe.charges': mirrored({
    none: `status currency customer payment_intent balance_transaction failure_balance_transaction invoice
      payment_method payment_method_type card_brand receipt_number calculated_statement_descriptor
      statement_descriptor failure_code outcome_type outcome_reason outcome_risk_level transfer_group`,
    own: 'card_last4 billing_name billing_email receipt_email receipt_url description failure_message',
  }),
  'stripe.checkout_sessions': mirrored({
    none: `status payment_status mode currency customer client_reference_id payment_intent setup_intent
      subscription invoice payment_link recovered_from ui_mode locale`,
    own: 'customer_email customer_name url success_url cancel_url',
  }),
  'stripe.coupons': mirrored({ none: 'currency duration applies_to', own: 'name' }),
  'stripe.customers': mirrored({
    none: 'currency default_source default_payment_method invoice_prefix preferred_locales tax_exempt',
    own: 'name email phone description address shipping invoice_settings',
  }),
  'stripe.disputes': mirrored({
    none: `status reason currency charge payment_intent balance_transaction network_reason_code
      payment_method_type card_brand case_type`,
  }),
  'stripe.invoices': mirrored({
    none: `number status customer subscription payment_intent charge currency billing_reason
      collection_method default_payment_method receipt_number statement_descriptor test_clock`,
    own: 'customer_email customer_name description hosted_invoice_url invoice_pdf',
  }),
  'stripe.payment_intents': mirrored({
    none: `status currency customer payment_method latest_charge invoice payment_method_types
      capture_method confirmation_method setup_future_usage cancellation_reason last_payment_error_code
      last_payment_error_decline_code statement_descriptor transfer_group`,
    own: 'last_payment_error_message description receipt_email',
  }),
  'stripe.payment_methods': mirrored({
    none: `type customer brand funding country wallet_type cvc_check address_line1_check
      address_postal_code_check`,
    own: `billing_name billing_email billing_phone address_line1 address_line2 address_city address_state
      address_postal_code address_country last4 fingerprint dynamic_last4`,
  }),
  'stripe.payouts': mirrored({
    none: `status type method currency balance_transaction destination source_type reconciliation_status
      trace_id failure_code failure_balance_transaction original_payout reversed_by statement_descriptor`,
    own: 'failure_message description',
  }),
  'stripe.plans': mirrored({
    none: `product nickname currency interval billing_scheme usage_type meter tiers tiers_mode
      transform_usage`,
  }),
  'stripe.prices': mirrored({
    none: `product nickname lookup_key type currency custom_unit_amount billing_scheme tax_behavior
      recurring recurring_interval recurring_usage_type tiers tiers_mode transform_quantity`,
  }),
  'stripe.products': mirrored({
    none: `type default_price images marketing_features package_dimensions statement_descriptor tax_code
      unit_label`,
    own: 'name description url',
  }),
  'stripe.promotion_codes': mirrored({
    none: 'code coupon customer minimum_amount_currency',
  }),
  'stripe.refunds': mirrored({
    none: `status currency reason charge payment_intent balance_transaction failure_balance_transaction
      customer payment_method failure_reason pending_reason receipt_number destination_type`,
    own: 'description instructions_email',
  }),
  'stripe.setup_intents': mirrored({
    none: `status usage customer payment_method payment_method_types mandate single_use_mandate
      latest_attempt cancellation_reason last_setup_error_code last_setup_error_decline_code`,
    own: 'last_setup_error_message description',
  }),
  'stripe.subscriptions': mirrored({
    none: `status customer currency items trial_settings pause_collection latest_invoice
      collection_method default_payment_method default_source default_tax_rates automatic_tax
      billing_thresholds discounts pending_invoice_item_interval pending_setup_intent pending_update
      schedule test_clock`,
    own: 'description cancellation_details',
  }),
}

/** The tables of the mirror. */
export const MIRROR_TABLES: readonly string[] = Object.keys(PERSONAL_DATA).filter((name) =>
  name.startsWith('stripe.'),
)

/** The columns of a table with one of these treatments. */
export function columnsOf(name: string, ...treatments: readonly Treatment[]): string[] {
  const columns = PERSONAL_DATA[name]?.columns ?? new Map<string, Treatment>()
  return [...columns].flatMap(([column, treatment]) =>
    treatments.includes(treatment) ? [column] : [],
  )
}
