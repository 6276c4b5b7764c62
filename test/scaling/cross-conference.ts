/** A statement of the service that is not for one conference. */
export type Exception = {
  /** What its text contains, all of it, with single spaces. */
  sql: readonly [string, ...string[]]
  /** `works`: Citus runs it on all nodes. `change`: Citus refuses it, so it must change first. */
  on: 'works' | 'change'
  /** What it is for, and for `change`, what replaces it. */
  why: string
}

const TWO_STEPS =
  'the nodes return candidates of their conferences, and a second statement on the coordinator leaves out those with a job'

/** All statements of the service that do not tie the tables of conferences to a given one. docs/scaling.md */
export const EXCEPTIONS: readonly Exception[] = [
  {
    sql: ['from stripe_events where status =', 'for update skip locked', 'known_purchase_id'],
    on: 'change',
    why: 'the claim of events: it claims on the coordinator, and one statement for each conference of the claim then looks up the purchases',
  },
  {
    sql: ['from "graphile_worker"."jobs" as "j" where j.key ='],
    on: 'change',
    why: `sweeps of overdue work of all conferences: ${TWO_STEPS}`,
  },
  {
    sql: ['select distinct v.batch_id from published_vouchers', 'from graphile_worker.jobs j'],
    on: 'change',
    why: `batches whose published codes differ at Stripe: ${TWO_STEPS}`,
  },
  {
    sql: ['update "sync_runs" set', "job.key = 'run_sync:'"],
    on: 'change',
    why: `sync runs that no process works on: ${TWO_STEPS}, before the update of each conference`,
  },
  {
    sql: ['delete from voucher_count_changes where ctid = any', 'insert into voucher_counts'],
    on: 'change',
    why: 'adds up the counts of vouchers: once for each conference that has changes, with its conference_id',
  },
  {
    sql: [
      'with due as materialized',
      'from redemptions where is_held',
      'for no key update of v skip locked',
    ],
    on: 'change',
    why: 'ends holds: `for update` needs one node, so once for each conference that has ended holds',
  },
  {
    sql: ['where ctid = any(array(select ctid from "'],
    on: 'change',
    why: 'retention: a place in a table is one in a shard, so rows are deleted by their keys, without batches',
  },
  {
    sql: ["case audit_log.object when 'sponsor' then"],
    on: 'change',
    why: 'the log of changes: a second statement for the conference reads the names of objects',
  },
  {
    sql: ['from customers where conference_id =', 'from users where conference_id ='],
    on: 'change',
    why: 'names of a sponsor for an erasure: one statement for each table',
  },
  {
    sql: ['from users where conference_id =', 'from voucher_assignments where conference_id ='],
    on: 'change',
    why: 'names of a person for an erasure: one statement for each table',
  },
  {
    sql: ['as page_at', 'from "bulk_purchases" as "p"', "p.id <> ''"],
    on: 'works',
    why: 'the list of an operator: each node returns a page, the coordinator merges them',
  },
  {
    sql: ['as page_at', 'from "text_search" as "t"', 'unnest(cast('],
    on: 'works',
    why: 'the search of an operator in given conferences',
  },
  {
    sql: ['select distinct "conference_id" from "voucher_publications"'],
    on: 'works',
    why: 'a timer that looks for conferences with published codes',
  },
  {
    sql: ['select distinct "own"."conference_id" from "subscriptions" as "own"'],
    on: 'works',
    why: 'a timer that looks for conferences whose subscriptions end; the mirror is joined by conference',
  },
  {
    sql: ['select "id" from "redemptions" where "is_held" ='],
    on: 'works',
    why: 'a timer that looks for ended holds',
  },
  {
    sql: ['from erasures as t'],
    on: 'works',
    why: 'the rotation of the encryption key reads encrypted values of all conferences',
  },
  {
    sql: ['from "purchase_flags" where "resolved_at" is null group by "code"'],
    on: 'works',
    why: 'a metric: each node counts its flags',
  },
  {
    sql: ['delete from "redemptions" where "is_held" =', '"confirmed_at" is null'],
    on: 'works',
    why: 'retention of holds, on each node',
  },
]

/** Whether a statement, with single spaces, is a known exception. */
export const isException = (line: string): boolean =>
  EXCEPTIONS.some(({ sql }) => sql.every((part) => line.includes(part)))
