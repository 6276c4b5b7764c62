import { createHash } from 'node:crypto'
import { fakeId } from './ids.ts'
import { type Row, Rows, type Table } from './rows.ts'

export type AccountProfile = {
  /** `acct_…` */
  id: string
  livemode: boolean
  /** ISO 3166-1 alpha-2. */
  country: string
  /** Lower-case ISO 4217. */
  defaultCurrency: string
  /** The merchant's name on the checkout page. */
  name: string
  /** Seconds since 1970. */
  created: number
}

/** `rate` units of the currency `into` for one unit of the customer's currency. */
export type Conversion = { into: string; rate: number }

/** One Stripe account with everything in it. Accounts share nothing. */
export class Account {
  readonly profile: AccountProfile
  /** How money in another currency enters the balance, by currency. Absent: the balance has it too. */
  readonly conversions = new Map<string, Conversion>()
  #tables = new Map<string, { hidden: boolean; rows: unknown }>()

  constructor(profile: AccountProfile) {
    this.profile = profile
  }

  get id(): string {
    return this.profile.id
  }

  get livemode(): boolean {
    return this.profile.livemode
  }

  rows<T extends Row>(table: Table<T>): Rows<T> {
    const known = this.#tables.get(table.name)
    // The table's name fixes its row type; only rows<T>() ever stores under it.
    if (known !== undefined) return known.rows as Rows<T>
    const rows = new Rows<T>()
    this.#tables.set(table.name, { hidden: table.hidden, rows })
    return rows
  }

  /**
   * The public object with this id; `expand` reads it.
   *
   * @param kind the kind to search first: a legacy card is also a payment method with the same id.
   */
  find(id: string, kind?: string): Row | undefined {
    const first = kind === undefined ? undefined : this.#tables.get(kind)
    const known = (first?.rows as Rows<Row> | undefined)?.get(id) // reading only
    if (known !== undefined) return known
    for (const { hidden, rows } of this.#tables.values()) {
      const row = hidden ? undefined : (rows as Rows<Row>).get(id) // reading only
      if (row !== undefined) return row
    }
    return undefined
  }
}

export type AccountInput = {
  /** A test or live key. Default: a new one. Its mode is the account's mode. */
  secretKey?: string | undefined
  livemode?: boolean | undefined
  /** ISO 3166-1 alpha-2, default `US`. */
  country?: string | undefined
  /** ISO 4217, default `usd`. */
  defaultCurrency?: string | undefined
  /** The merchant's name on the checkout page. */
  name?: string | undefined
}

/**
 * `sk_` or `rk_`, then the mode, then at least three characters, so that tests can use short keys.
 */
const KEY_PATTERN = /^(?:sk|rk)_(test|live)_[A-Za-z0-9_]{3,}$/

export type KeyState = 'malformed' | 'revoked' | 'unknown'

/** The accounts of a fake and the keys that open them. */
export class AccountRegistry {
  #accounts = new Map<string, Account>()
  #keys = new Map<string, Account>()
  #revoked = new Set<string>()
  #now: () => number
  #automatic: boolean
  #onOpen: (account: Account) => void

  /**
   * @param now seconds since 1970.
   * @param automatic whether an unknown well-formed key opens a new account.
   * @param onOpen called with each new account.
   */
  constructor(now: () => number, automatic: boolean, onOpen: (account: Account) => void) {
    this.#now = now
    this.#automatic = automatic
    this.#onOpen = onOpen
  }

  /** @throws Error when the key is malformed, already has an account, or has the other mode. */
  create(input: AccountInput = {}): { account: Account; secretKey: string } {
    const mode = (input.livemode ?? input.secretKey?.includes('_live_')) ? 'live' : 'test'
    const secretKey = input.secretKey ?? fakeId(`sk_${mode}_`, 48)
    if (KEY_PATTERN.exec(secretKey)?.[1] !== mode)
      throw new Error(`This is not a secret key for ${mode} mode: ${maskKey(secretKey)}`)
    if (this.#keys.has(secretKey)) throw new Error(`${maskKey(secretKey)} already has an account`)
    const account = new Account({
      id: accountId(secretKey),
      livemode: mode === 'live',
      country: input.country ?? 'US',
      defaultCurrency: (input.defaultCurrency ?? 'usd').toLowerCase(),
      name: input.name ?? 'Example Merchant',
      created: this.#now(),
    })
    this.#accounts.set(account.id, account)
    this.#keys.set(secretKey, account)
    this.#onOpen(account)
    return { account, secretKey }
  }

  /** Adds a key to the account, as when a key is rolled in the dashboard. */
  addKey(account: Account, kind: 'sk' | 'rk' = 'sk'): string {
    const key = fakeId(`${kind}_${account.livemode ? 'live' : 'test'}_`, 48)
    this.#keys.set(key, account)
    return key
  }

  revokeKey(key: string): void {
    this.#keys.delete(key)
    this.#revoked.add(key)
  }

  /** The account that a key opens; a new one when `automatic` is set. */
  open(key: string): Account | KeyState {
    if (this.#revoked.has(key)) return 'revoked'
    const known = this.#keys.get(key)
    if (known !== undefined) return known
    if (!KEY_PATTERN.test(key)) return 'malformed'
    return this.#automatic ? this.create({ secretKey: key }).account : 'unknown'
  }

  get(id: string): Account | undefined {
    return this.#accounts.get(id)
  }

  all(): Account[] {
    return [...this.#accounts.values()]
  }

  keysOf(account: Account): string[] {
    return [...this.#keys].filter(([, owner]) => owner === account).map(([key]) => key)
  }
}

/**
 * The same key gives the same account id in every process, so stored ids stay valid after a
 * restart.
 */
function accountId(secretKey: string): string {
  const digest = createHash('sha256').update(secretKey).digest('base64url')
  return `acct_1${digest.replaceAll(/[-_]/g, '').slice(0, 15)}`
}

/** `sk_test_********cdef`: enough to tell keys apart, not enough to use one. */
export function maskKey(key: string): string {
  const prefix = /^[a-z]+_(?:test|live)_/.exec(key)?.[0] ?? ''
  const rest = key.slice(prefix.length)
  const shown = rest.length > 8 ? rest.slice(-4) : ''
  return `${prefix}${'*'.repeat(Math.max(rest.length - shown.length, 4))}${shown}`
}
