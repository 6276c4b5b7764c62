import type { Knex } from 'knex'

/** The tables that lists search, and what is searched. */
const SEARCHED = {
  bulk_purchases: {
    kind: 'purchase',
    texts: ['id', 'description', 'reference', 'payment_intent_id'],
  },
  sponsors: { kind: 'sponsor', texts: ['name', 'slug', 'contact_email'] },
} as const

type SearchedTable = keyof typeof SEARCHED

const list = (names: readonly string[], row: string) =>
  names.map((name) => `${row}.${name}`).join(', ')

/** SQL for the hashes of all parts of three characters. A function called for each row takes five times as long. */
const gramsOf = (salt: string, texts: readonly string[]) => `(
  select coalesce(array_agg(hashtext(${salt} || substr(t, i, 3))), '{}')
  from (values ${texts.map((text) => `(lower(${text}))`).join(', ')}) as texts (t),
    generate_series(1, length(t) - 2) i)`

/** SQL for the row of the index for a row of the table. */
function indexRow(table: SearchedTable, row: string): string {
  const { kind, texts } = SEARCHED[table]
  const columns = texts.map((text) => `${row}.${text}`)
  return `${row}.conference_id, '${kind}', ${row}.id, ${row}.created_at, ${gramsOf(`${row}.conference_id || '${kind}'`, columns)}`
}

/** SQL that fills the index with all rows of a table. */
export const indexTexts = (table: SearchedTable) =>
  `insert into text_search select ${indexRow(table, table)} from ${table}`

/**
 * An index of all parts of three characters of the texts that lists search.
 *
 * Row security evaluates its condition before an operator that may reveal values, such as `ilike` or those
 * of pg_trgm, so no index on the texts themselves can serve them. This table contains no text but hashes that
 * depend on the conference. So every tenant may read it, and none can change the rows of another.
 * What it finds is only a candidate, to be read from its own table.
 *
 * Triggers keep it, because processes of the previous release write these tables too.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create function text_grams(salt text, sought text) returns integer[]
      language sql immutable parallel safe return ${gramsOf('salt', ['sought'])};

    create table text_search (
      conference_id text not null,
      kind text not null,
      id text not null,
      -- The object's created_at: its place in the list.
      listed_at timestamptz not null,
      grams integer[] not null,
      primary key (conference_id, kind, id)
    );
    alter table text_search enable row level security;
    alter table text_search force row level security;
    create policy text_search_tenant on text_search
      using (conference_id = current_setting('app.conference_id', true)
        or current_setting('app.system_task', true) = 'migrate');
    create policy text_search_read on text_search for select using (true);

    select set_config('app.system_task', 'migrate', true);
  `)
  for (const table of Object.keys(SEARCHED) as SearchedTable[]) {
    const { texts } = SEARCHED[table]
    await knex.raw(`
      ${indexTexts(table)};
      create function ${table}_index_text() returns trigger language plpgsql as $$
      begin
        insert into text_search select ${indexRow(table, 'new')}
          on conflict (conference_id, kind, id) do update set grams = excluded.grams;
        return null;
      end $$;
      create trigger ${table}_index_new_text after insert on ${table}
        for each row execute function ${table}_index_text();
      create trigger ${table}_index_text after update of ${texts.join(', ')} on ${table} for each row
        when ((${list(texts, 'old')}) is distinct from (${list(texts, 'new')}))
        execute function ${table}_index_text();
    `)
  }
  await knex.raw(`
    select set_config('app.system_task', '', true);
    -- A short list of pending entries: whoever fills it, merges it.
    create index text_search_grams on text_search using gin (grams) with (gin_pending_list_limit = 256);
  `)
}

export async function down(knex: Knex): Promise<void> {
  for (const table of Object.keys(SEARCHED)) {
    await knex.raw(`
      drop trigger ${table}_index_new_text on ${table};
      drop trigger ${table}_index_text on ${table};
      drop function ${table}_index_text;
    `)
  }
  await knex.raw(`
    drop table text_search;
    drop function text_grams;
  `)
}
