import pg from 'pg'
import { indexTexts } from '../migrations/0060_text_search.ts'

/** What a conference has. Eight of ten purchases are paid. Only the newest have more than their own row. */
export type Size = {
  purchases: number
  /** How many of the newest have attempts and payments. */
  detailed: number
  /** How many of the newest are in the reports by the day of the payment. */
  reported: number
  /** How many of the newest a search finds by their own texts. */
  searchable: number
  batches: number
  vouchersPerBatch: number
}

const SPONSORS = 1_000

/** SQL for an id that no one guesses. It grows with `n`, because sorted rows are indexed in half the time. */
const idOf = (prefix: string, n: string) =>
  `'${prefix}_' || lpad(cast(${n} as text), 7, '0') || left(md5('${prefix}' || ${n}), 14)`

/** SQL for the newest purchases, of which only paid ones count. */
const newestPaid = (count: string) =>
  `generate_series(greatest(1, :purchases - ${count} + 1), :purchases) n where n % 10 > 1`

// Purchase n is the n-th, one every ten seconds until now.
const AT = `now() - (:purchases - n) * interval '10 seconds'`
const STATUS = `case n % 10 when 0 then 'PENDING' when 1 then 'FAILED' else 'PAID' end`

const ROWS = {
  sponsors: `
    insert into sponsors (conference_id, id, name, slug, contact_email, created_at)
    select :conference, 'spon_seed' || n, 'Sponsor ' || n, 'sponsor-' || n, 'team@s' || n || '.example',
      now() - n * interval '1 minute'
    from generate_series(1, ${SPONSORS}) n`,
  ticket_types: `
    insert into ticket_types (conference_id, id, name, price, bulk_enabled)
    select :conference, 'tkt_seed' || n, 'Ticket ' || n, 1000, true from generate_series(1, 20) n`,
  bulk_purchases: `
    insert into bulk_purchases (conference_id, id, sponsor_id, status, quantity, unit_amount, total_amount,
      currency, price_source, description, reference, ticket_type_id, voucher_type, discount_value, max_uses,
      unlocks_hidden_tickets, code_prefix, amount_received, payment_intent_id, requested_by, created_at,
      updated_at, paid_at)
    select :conference, ${idOf('bp', 'n')}, 'spon_seed' || 1 + n % ${SPONSORS}, ${STATUS}, 40, 1000,
      40000, 'EUR', 'catalogue', 'Ticket ' || 1 + n % 20, case n % 3 when 0 then 'PO-' || 1000000 + n end,
      'tkt_seed' || 1 + n % 20, 'percentage', 100, 1, false, 'CONF-',
      case when n % 10 > 1 then 40000 else 0 end, case when n % 10 > 1 then ${idOf('pi', 'n')} end,
      'key_seed', ${AT}, ${AT}, case when n % 10 > 1 then ${AT} end
    from generate_series(1, :purchases) n`,
  payment_attempts: `
    insert into payment_attempts (conference_id, purchase_id, attempt, state, params, session_id,
      payment_intent_id, created_at)
    select :conference, ${idOf('bp', 'n')}, 1, 'paid', '{}', ${idOf('cs_test', 'n')}, ${idOf('pi', 'n')}, ${AT}
    from ${newestPaid(':detailed')}`,
  payments: `
    insert into payments (conference_id, purchase_id, payment_intent_id, attempt, status, amount,
      amount_received, currency, seen_at)
    select :conference, ${idOf('bp', 'n')}, ${idOf('pi', 'n')}, 1, 'succeeded', 40000, 40000, 'EUR', ${AT}
    from ${newestPaid(':detailed')}`,
  money_movements: `
    insert into money_movements (conference_id, purchase_id, happened_at, kind, source, object_id, amount,
      currency, item_id)
    select :conference, ${idOf('bp', 'n')}, ${AT}, kind, case n % 30 when 4 then 'recorded' else 'stripe' end,
      'object', case kind when 'payment' then 40000 else 1000 end, 'EUR', 'tkt_seed' || 1 + n % 20
    from (select n, unnest(case n % 50 when 4 then '{payment, refund}'::text[] else '{payment}' end) as kind
      from ${newestPaid(':reported')}) as moved`,
  voucher_issue_times: `
    insert into voucher_issue_times (conference_id, purchase_id, source, paid_at, issued_at)
    select :conference, ${idOf('bp', 'n')}, case n % 30 when 4 then 'recorded' else 'stripe' end, ${AT},
      ${AT} + (case n % 30 when 4 then n % 500000 else n % 40 end) * interval '1 second'
    from ${newestPaid(':reported')}`,
  purchase_flags: `
    insert into purchase_flags (conference_id, purchase_id, purchased_at, code, fact, detail, raised_at,
      resolved_at, resolved_by, note)
    select :conference, ${idOf('bp', 'n')}, ${AT}, case n % 200 when 2 then 'dispute' else 'overpaid' end, 'fact',
      'seeded', ${AT}, case when n % 400 > 200 then now() end, case when n % 400 > 200 then 'key_seed' end,
      case when n % 400 > 200 then 'done' end
    from generate_series(1, :purchases) n where n % 100 = 2`,
  voucher_batches: `
    insert into voucher_batches (conference_id, id, source, purchase_id, sponsor_id, count, prefix,
      code_length, voucher_type, discount_value, currency, max_uses, unlocks_hidden_tickets, created_by,
      created_at)
    select :conference, ${idOf('vb', 'n')}, 'purchase', ${idOf('bp', 'n')},
      'spon_seed' || 1 + n % ${SPONSORS}, :vouchersPerBatch, 'CONF-', 12, 'percentage', 100, 'EUR', 1,
      false, 'key_seed', ${AT}
    from ${newestPaid(':batches * 10 / 8')}`,
  voucher_counts: `
    insert into voucher_counts (conference_id, batch_id, issued, frozen, deactivated, redeemed, uses, remaining)
    select :conference, ${idOf('vb', 'n')}, 0, 0, 0, :vouchersPerBatch / 4, :vouchersPerBatch / 4,
      - (:vouchersPerBatch / 4)
    from ${newestPaid(':batches * 10 / 8')}`,
  vouchers: `
    insert into vouchers (conference_id, batch_id, ordinal, code, code_key, max_uses, times_used)
    select :conference, ${idOf('vb', 'n')}, o, 'N' || n || 'X' || o, 'N' || n || 'X' || o, 1,
      case when o % 4 = 0 then 1 else 0 end
    from generate_series(1, :vouchersPerBatch) o, ${newestPaid(':batches * 10 / 8')}`,
  text_search: `
    ${indexTexts('sponsors')} where conference_id = :conference
    union all ${indexTexts('bulk_purchases').replace(/^insert into text_search /, '')}
      where conference_id = :conference
        and created_at > now() - :searchable * interval '10 seconds'`,
}

/** The tables that `seedConference` fills. */
export const SEEDED_TABLES: readonly string[] = Object.keys(ROWS)

const bound = (sql: string, values: Record<string, string | number>) =>
  sql.replaceAll(/(?<!:):(\w+)/g, (_, name: string) => {
    const value = values[name] ?? ''
    return typeof value === 'number' ? String(value) : pg.escapeLiteral(value)
  })

/**
 * Seeds a conference without the service: as an administrator, and without triggers. The tables keep no
 * constraints but keys, so nothing else may be tested in this database.
 */
export async function seedConference(
  adminConnectionString: string,
  conference: string,
  size: Size,
): Promise<void> {
  const client = new pg.Client({ connectionString: adminConnectionString })
  await client.connect()
  try {
    await client.query(`set session_replication_role = replica; set maintenance_work_mem = '512MB'`)
    await client.query(
      `insert into conferences (id, slug, name, currency) values ($1, lower(replace($1, '_', '-')), 'Bench', 'EUR')`,
      [conference],
    )
    for (const [table, sql] of Object.entries(ROWS)) {
      await fill(client, table, bound(sql, { conference, ...size }))
    }
    await client.query('vacuum analyze')
  } finally {
    await client.end()
  }
}

/** Inserts without constraints and indexes, then builds those that a query may use: a third of the time. */
async function fill(client: pg.Client, table: string, insert: string): Promise<void> {
  const { rows: constraints } = await client.query<Named>(
    `select conname as name, contype in ('p', 'u') as has_index, pg_get_constraintdef(oid) as definition
     from pg_constraint where conrelid = $1::regclass and contype not in ('n', 't') order by contype = 'p' desc`,
    [table],
  )
  for (const { name } of constraints) {
    await client.query(`alter table ${table} drop constraint ${name} cascade`)
  }
  const { rows: indexes } = await client.query<Named>(
    `select indexrelid::regclass as name, pg_get_indexdef(indexrelid) as definition
     from pg_index where indrelid = $1::regclass`,
    [table],
  )
  for (const { name } of indexes) await client.query(`drop index ${name}`)
  await client.query(insert)
  for (const { name, definition, has_index: hasIndex } of constraints) {
    if (hasIndex) await client.query(`alter table ${table} add constraint ${name} ${definition}`)
  }
  for (const { definition } of indexes) await client.query(definition)
}

type Named = { name: string; definition: string; has_index?: boolean }
