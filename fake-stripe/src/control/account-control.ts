import type { Account, Conversion } from '../core/accounts.ts'
import { InvalidState } from '../core/errors.ts'
import type { Row } from '../core/rows.ts'
import { NO_REQUEST, type Scope } from '../core/scope.ts'
import type { FakeState } from '../fake-state.ts'

/** `acct_…` or one of the account's keys. */
export type AccountReference = string

export type AccountView = {
  id: string
  name: string
  livemode: boolean
  country: string
  default_currency: string
}

export type AccountControl = {
  /**
   * Opens an account. An unknown well-formed key opens one without this call.
   *
   * @throws Error when the key is malformed, already has an account, or has the other mode.
   */
  createAccount(input?: {
    secretKey?: string | undefined
    livemode?: boolean | undefined
    country?: string | undefined
    default_currency?: string | undefined
    name?: string | undefined
  }): AccountView & { secretKey: string }
  accounts(): AccountView[]
  /** Adds a key to the account, as when a key is rolled. `rk` is a restricted key. */
  createKey(account: AccountReference, kind?: 'sk' | 'rk'): string
  /** Makes a key invalid. */
  revokeKey(key: string): void
  /**
   * From now on, money in the currency `from` enters the balance in the currency `into`, as at Stripe
   * without a bank account in `from`. Fees are in the currency of the balance.
   *
   * @param rate units of `into` for one unit of `from`, both in their smallest unit.
   */
  convert(account: AccountReference, conversion: Conversion & { from: string }): void
}

export function accountControl(state: FakeState): AccountControl {
  return {
    createAccount({ default_currency: defaultCurrency, ...input } = {}) {
      const { account, secretKey } = state.accounts.create({ ...input, defaultCurrency })
      return { ...accountView(account), secretKey }
    },
    accounts: () => state.accounts.all().map(accountView),
    createKey: (account, kind) => state.accounts.addKey(findAccount(state, account), kind),
    revokeKey: (key) => state.accounts.revokeKey(key),
    convert(account, { from, into, rate }) {
      findAccount(state, account).conversions.set(from.toLowerCase(), {
        into: into.toLowerCase(),
        rate,
      })
    },
  }
}

function accountView({ profile }: Account): AccountView {
  const { id, name, livemode, country, defaultCurrency } = profile
  return { id, name, livemode, country, default_currency: defaultCurrency }
}

/** Finds an account by its id or by one of its keys. @throws InvalidState when there is none. */
export function findAccount(state: FakeState, reference: string): Account {
  const account = state.accounts.get(reference) ?? state.accounts.open(reference)
  if (typeof account === 'string') throw new InvalidState(`${account} account or key`)
  return account
}

/** The scope of a change that no API request caused. */
export function manualScope(state: FakeState, account: Account): Scope {
  return { world: state, account, cause: NO_REQUEST }
}

/** Finds an object in all accounts. @throws InvalidState when there is none. */
export function findOwner(state: FakeState, id: string): { scope: Scope; object: Row } {
  for (const account of state.accounts.all()) {
    const object = account.find(id)
    if (object !== undefined) return { scope: manualScope(state, account), object }
  }
  throw new InvalidState(`There is no object ${id}.`)
}
