import { beforeAll, describe, expect, it } from 'vitest'
import { withTenant } from '../../../src/db/tenant-scope.ts'
import { MOMENT, mirroredRow, type Sample, SECONDS } from '../mirrored-row.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
beforeAll(async () => {
  shop = await scene.openWiredShop()
})

const rowOf = (object: Sample) => mirroredRow(scene, shop, 'payment-methods', object)

const cardsView = (id: string) =>
  scene.rows(`select * from stripe.cards where conference_id = $1 and id = $2`, [
    shop.conference,
    id,
  ])

const CARD: Sample = {
  id: 'pm_1',
  object: 'payment_method',
  billing_details: {
    address: {
      city: 'Hamburg',
      country: 'DE',
      line1: 'Kai 1',
      line2: 'Hof',
      postal_code: '20457',
      state: 'HH',
    },
    email: 'a@example.com',
    name: 'Ada',
    phone: '+49 1',
  },
  card: {
    brand: 'visa',
    checks: {
      address_line1_check: 'fail',
      address_postal_code_check: 'pass',
      cvc_check: 'unchecked',
    },
    country: 'DE',
    exp_month: 8,
    exp_year: 2030,
    fingerprint: 'print',
    funding: 'debit',
    last4: '4242',
    wallet: { dynamic_last4: '1111', type: 'apple_pay' },
  },
  created: SECONDS,
  customer: 'cus_1',
  livemode: false,
  metadata: {},
  type: 'card',
}

const COLUMNS = {
  address_city: 'Hamburg',
  address_country: 'DE',
  address_line1: 'Kai 1',
  address_line1_check: 'fail',
  address_line2: 'Hof',
  address_postal_code: '20457',
  address_postal_code_check: 'pass',
  address_state: 'HH',
  billing_name: 'Ada',
  country: 'DE',
  customer: 'cus_1',
  cvc_check: 'unchecked',
  dynamic_last4: '1111',
  exp_month: '8',
  exp_year: '2030',
  fingerprint: 'print',
  funding: 'debit',
  last4: '4242',
  type: 'card',
  wallet_type: 'apple_pay',
}

describe('a card', () => {
  it('has its holder, number, expiry and checks', async () => {
    expect(await rowOf(CARD)).toMatchObject({
      ...COLUMNS,
      billing_email: 'a@example.com',
      billing_phone: '+49 1',
      brand: 'visa',
      created: MOMENT,
    })
  })

  it('of the legacy kind, with other field names, has the same columns (E13)', async () => {
    const older = {
      id: 'card_1',
      object: 'card',
      address_city: 'Hamburg',
      address_country: 'DE',
      address_line1: 'Kai 1',
      address_line1_check: 'fail',
      address_line2: 'Hof',
      address_state: 'HH',
      address_zip: '20457',
      address_zip_check: 'pass',
      brand: 'Visa',
      country: 'DE',
      customer: 'cus_1',
      cvc_check: 'unchecked',
      dynamic_last4: '1111',
      exp_month: 8,
      exp_year: 2030,
      fingerprint: 'print',
      funding: 'debit',
      last4: '4242',
      metadata: {},
      name: 'Ada',
      tokenization_method: 'apple_pay',
    }
    expect(await rowOf(older)).toMatchObject({ ...COLUMNS, brand: 'Visa' })
  })

  it('is in the view of cards, with the names of the legacy kind (E13)', async () => {
    await rowOf(CARD)
    expect(await cardsView('pm_1')).toMatchObject([
      {
        address_line1: 'Kai 1',
        address_zip: '20457',
        address_zip_check: 'pass',
        brand: 'visa',
        customer: 'cus_1',
        cvc_check: 'unchecked',
        exp_year: '2030',
        name: 'Ada',
        tokenization_method: 'apple_pay',
      },
    ])
  })

  it('is visible through the view only to its own conference', async () => {
    await rowOf({ ...CARD, id: 'pm_private' })
    const other = await scene.openWiredShop()
    const seenBy = ({ conference: conferenceId }: WiredShop) =>
      withTenant(scene.db, { conferenceId }, (trx) =>
        trx('stripe.cards').where({ id: 'pm_private' }).pluck<string[]>('id'),
      )
    expect(await seenBy(shop)).toEqual(['pm_private'])
    expect(await seenBy(other)).toEqual([])
  })

  it('that was detached has no customer and is no tombstone', async () => {
    await rowOf({ ...CARD, id: 'pm_detached' })
    const detached = await rowOf({ ...CARD, id: 'pm_detached', customer: null })
    expect(detached).toMatchObject({ customer: null, last4: '4242', deleted_at: null })
  })
})

describe('another payment method', () => {
  it('has the columns that its type shares with cards, and is not in the view of cards', async () => {
    const debit = {
      ...CARD,
      id: 'pm_debit',
      type: 'sepa_debit',
      card: undefined,
      sepa_debit: { bank_code: '37040044', country: 'FR', fingerprint: 'iban', last4: '3000' },
    }
    expect(await rowOf(debit)).toMatchObject({
      brand: null,
      country: 'FR',
      exp_month: null,
      fingerprint: 'iban',
      last4: '3000',
      type: 'sepa_debit',
    })
    expect(await cardsView('pm_debit')).toEqual([])
  })

  it('of an unknown type is stored', async () => {
    const later = { ...CARD, id: 'pm_later', type: 'telepathy', card: undefined }
    expect(await rowOf(later)).toMatchObject({
      billing_name: 'Ada',
      last4: null,
      type: 'telepathy',
    })
  })
})
