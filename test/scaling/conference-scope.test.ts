import { describe, expect, it } from 'vitest'
import { faultOf } from '../support/watch-statements.ts'
import { scopeOf } from './conference-scope.ts'
import { EXCEPTIONS } from './cross-conference.ts'
import { placementOf } from './placement.ts'

const scope = (sql: string) => scopeOf(sql, placementOf)
const ONE = { unbound: [], groups: 0, local: [] }

describe('a statement for one conference', () => {
  it.each([
    `select * from vouchers where conference_id = $1 and code_key = $2`,
    `select * from vouchers where (conference_id, id) in (($1, $2), ($3, $4))`,
    `select * from vouchers where (conference_id, id) in (values ($1::text, $2::bigint))`,
    `select * from vouchers where conference_id = any($1::text[])`,
    `select 1 from vouchers v join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
     where b.conference_id = $1`,
    `select 1 from vouchers v join voucher_batches b using (conference_id) where v.conference_id = $1`,
    `select (select count(*) from vouchers v where v.conference_id = p.conference_id) from bulk_purchases p
     where p.conference_id = $1`,
    `with found as (select conference_id, id from sponsors where conference_id = $1)
     select * from customers c join found f on f.conference_id = c.conference_id`,
    `insert into sponsors (id, conference_id) values ($1, $2)`,
    `insert into sponsors (conference_id, id) select conference_id, id from charges where conference_id = $1`,
    `update vouchers v set state = 'active' from (select $1::text as conference_id) as given
     where v.conference_id = given.conference_id`,
    `delete from payments where (conference_id, payment_intent_id) in
       (select conference_id, payment_intent_id from payments where conference_id = $1 limit 5)`,
    `select 1 from unnest($1::text[], $2::text[]) as given (conference_id, id)
     join stripe.charges c on c.conference_id = given.conference_id and c.id = given.id`,
    `select 1 from conferences c join sponsors s on s.conference_id = c.id where c.id = $1`,
    `select * from api_keys where secret_hash = $1`,
  ])('is %s', (sql) => {
    expect(scope(sql)).toEqual(ONE)
    expect(faultOf(sql)).toBeNull()
  })
})

describe('a statement that Citus would send to every node', () => {
  it.each([
    ['vouchers', `select * from vouchers where code_key = $1`],
    ['vouchers', `select * from vouchers where conference_id <> $1`],
    ['vouchers', `select * from vouchers where conference_id = $1 or code_key = $2`],
    [
      'payments',
      `select 1 from charges c left join payments p on p.charge_id = c.id where c.conference_id = $1`,
    ],
    [
      'payments',
      `select 1 from charges c where c.conference_id = $1
       and exists (select from payments p where p.charge_id = c.id)`,
    ],
    ['sponsors', `insert into sponsors (id, conference_id) select id, conference_id from sponsors`],
    ['vouchers', `with found as (select id from vouchers) select * from found where id = $1`],
    [
      'vouchers',
      `select conference_id from sponsors where conference_id = $1
       union select conference_id from vouchers`,
    ],
    ['bulk_purchases', `update bulk_purchases set status = $1 where id = $2`],
    [
      'sponsors',
      `select 1 from conferences c join sponsors s on s.conference_id = c.id where c.slug = $1`,
    ],
  ])('reads %s without a conference: %s', (table, sql) => {
    expect(scope(sql).unbound).toEqual([table])
    expect(faultOf(sql)).toContain(`does not tie ${table} to a conference`)
  })

  it('joins conferences unless the conference is compared', () => {
    const join = (on: string) =>
      scope(`select 1 from vouchers v join redemptions r on ${on} where r.expires_at < now()`)
    expect(join('r.voucher_id = v.id')).toMatchObject({ groups: 2 })
    expect(join('r.conference_id = v.conference_id and r.voucher_id = v.id').groups).toBe(1)
  })
})

it('a statement that joins a table of the coordinator with those of a conference is found', () => {
  const sql = `select 1 from bulk_purchases p where p.conference_id = $1
    and not exists (select from graphile_worker.jobs j where j.key = p.id)`
  expect(scope(sql)).toEqual({ ...ONE, local: ['graphile_worker.jobs'] })
  expect(faultOf(sql)).toContain('joins tables of the coordinator (graphile_worker.jobs)')
})

it('each exception says what it is for', () => {
  expect(EXCEPTIONS.filter(({ why }) => why.length < 30)).toEqual([])
})
