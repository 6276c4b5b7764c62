import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { StripeSyncAction } from '../../src/mirror/stripe-sync-action.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { useInboxApp, type WiredShop } from '../stripe-events/inbox-app.ts'
import { createSponsorKey } from '../support/fixtures.ts'
import { RETURN_URLS } from '../support/shop.ts'
import { type Body, TEST_ENCRYPTION_KEY } from '../support/test-app.ts'

type Made = Body & { id: string }

/** A person at a sponsor. Texts of a conference have them in all their forms. */
export type Who = { email: string; name: string; company: string }

/** The service with a conference whose records name people everywhere. */
export function useConferenceOfPeople() {
  const log: string[] = []
  const app = useInboxApp({}, [], { log: { write: (line: string) => void log.push(line) } })
  const encryption = createEncryption(TEST_ENCRYPTION_KEY)

  async function send<T = Made>(
    shop: WiredShop,
    path: string,
    body: Body,
    options: { as?: string; headers?: Record<string, string> } = {},
  ): Promise<T> {
    const answer = await app.request<T>('POST', `${shop.path}/${path}`, { ...options, body })
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  /** A sponsor with a saved card that bought ten codes, in the name of a person. */
  async function sell(shop: WiredShop, who: Who) {
    const { email, name, company } = who
    const sponsor = await send<Made & { slug: string }>(
      shop,
      'sponsors',
      { name: company, contact_email: email.toUpperCase(), external_id: `crm-${company}` },
      { headers: { 'idempotency-key': `sponsor of ${email}` } },
    )
    const { key } = await createSponsorKey(app, { path: shop.path }, sponsor.id, {
      name: `Key of ${name}`,
    })
    const user = await send(shop, 'users', { email, name, role: 'sponsor', sponsor: sponsor.id })
    const customer = await send<Made & { stripe_customer: string }>(
      shop,
      'customers',
      {},
      { as: key, headers: { 'idempotency-key': 'customer' } },
    )
    const card = app.fake.control.call(
      shop.stripeKey,
      'POST',
      '/v1/payment_methods/pm_card_visa/attach',
      {
        customer: customer.stripe_customer,
      },
    ) as Body
    app.fake.control.call(shop.stripeKey, 'POST', `/v1/payment_methods/${String(card['id'])}`, {
      billing_details: { name, email, phone: '+49 1', address: { line1: `c/o ${name}` } },
    })
    const purchase = await send(
      shop,
      'purchases',
      { ticket_type: shop.ticketType, quantity: 10, reference: `PO ${name}` },
      { as: key },
    )
    const checkout = await send<{ session_id: string }>(
      shop,
      `purchases/${purchase.id}/checkout`,
      { ...RETURN_URLS, success_url: `https://shop.example/thanks?to=${email}` },
      { as: key },
    )
    app.fake.control.pay(checkout.session_id, { email, name })
    await app.settle()
    const wired = await send(
      shop,
      'purchases',
      { ticket_type: shop.ticketType, quantity: 1 },
      { as: key },
    )
    await send(shop, `purchases/${wired.id}/mark-paid`, {
      amount: 1_000,
      method: 'bank_transfer',
      reference: `wire of ${name}`,
      note: `${email} sent the receipt`,
    })
    const codes = await shop.codes(purchase.id)
    const [first = '', second = ''] = codes
    await send(shop, `vouchers/${first}/redemptions`, { reference: `order of ${email}` })
    const assigned = await app.request('PUT', `${shop.path}/vouchers/${second}/assignment`, {
      body: { email, name },
    })
    if (assigned.status >= 300) throw new Error(JSON.stringify(assigned.body))
    const charge = await send(shop, 'charges', {
      sponsor: sponsor.id,
      amount: 5_000,
      description: `Booth of ${company}, ask ${email}.`,
      comment: `${name} called`,
      source_reference: `crm/${email}`,
      metadata: { contact: name },
    })
    await send(shop, `charges/${charge.id}/charge`, {})
    await app.settle()
    return { ...who, sponsor, key, user, customer, purchase, charge, codes }
  }

  /** What remains in the whole database: rows that contain the text in any case, by table and column. */
  async function findEverywhere(text: string): Promise<string[]> {
    const columns = await app.rows<{ name: string; column: string; type: string }>(
      `select format('%I.%I', table_schema, table_name) as name, column_name as column, udt_name as type
       from information_schema.columns join information_schema.tables using (table_schema, table_name)
       where table_type = 'BASE TABLE' and table_schema in ('public', 'stripe', 'graphile_worker')`,
    )
    const found: string[] = []
    for (const name of new Set(columns.map((each) => each.name))) {
      const ofTable = columns.filter((each) => each.name === name)
      const counts = ofTable.map(({ column, type }) => {
        // Stripe's JSON may escape letters, so a body is read as JSON.
        const value =
          type === 'bytea' ? `convert_from("${column}", 'UTF8')::jsonb::text` : `"${column}"::text`
        return `count(*) filter (where strpos(lower(${value}), lower($1)) > 0)::int as "${column}"`
      })
      const [row = {}] = await app.rows<Record<string, number>>(
        `select ${counts.join(', ')} from ${name}`,
        [text],
      )
      for (const [column, n] of Object.entries(row)) if (n > 0) found.push(`${name}.${column}`)
    }
    return [...found, ...(await findInAnswers(text))].toSorted()
  }

  async function findInAnswers(text: string): Promise<string[]> {
    const rows = await app.rows<{ caller: string; key: string; answer_sealed: string }>(
      'select caller, key, answer_sealed from idempotency_keys where answer_sealed is not null',
    )
    return rows.flatMap(({ caller, key, answer_sealed: sealed }) => {
      const answer = encryption.decrypt(sealed, `idempotency_keys:${caller}:${key}`)
      return answer.toLowerCase().includes(text.toLowerCase()) ? ['the stored answers'] : []
    })
  }

  /** Money and counts of a conference. */
  async function totals(shop: WiredShop): Promise<unknown> {
    const tables = [
      'bulk_purchases',
      'charges',
      'payments',
      'payment_refunds',
      'vouchers',
      'redemptions',
    ]
    const counts = await app.rows(
      `${tables
        .map(
          (table) =>
            `select '${table}' as t, count(*)::int as n, sum((to_jsonb(x) ->> 'amount_received')::bigint) as received,
               sum((to_jsonb(x) ->> 'amount')::bigint) as amount, sum((to_jsonb(x) ->> 'times_used')::int) as used
             from ${table} x where conference_id = $1`,
        )
        .join(' union all ')}
       union all select 'stripe.charges', count(*)::int, sum(amount_captured), sum(amount), null
         from stripe.charges where conference_id = $1 order by 1`,
      [shop.conference],
    )
    const { body } = await app.request('GET', `${shop.path}/reports/vouchers`)
    return { counts, vouchers: body }
  }

  /** Fetches everything from Stripe again, as the timer and the CLI do. */
  async function syncEverything(shop: WiredShop): Promise<void> {
    const context = {
      db: app.db,
      conferenceId: shop.conference,
      connect: () => app.deps.clients.background(shop.conference),
      logger: app.deps.logger,
    }
    for (const resource of ALL_RESOURCES) {
      const action = resource.createAction(context)
      if (action instanceof StripeSyncAction) await action.syncAll()
    }
  }

  return { app, log, encryption, send, sell, findEverywhere, totals, syncEverything }
}
