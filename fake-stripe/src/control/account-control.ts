import type { Account } from '../core/accounts.ts'
import { InvalidState } from '../core/errors.ts'
import type { Row } from '../core/rows.ts'
import { NO_REQUEST, type Scope } from '../core/scope.ts'
import type { FakeState } from '../fake-state.ts'

/** Accounts are named by `acct_…` or by one of their keys wherever an account is asked for. */
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
   * Opens an account. Without this an unknown well-formed key opens one of its own.
   *
   * @throws Error when the key is malformed, has an account, or is of the other mode.
   */
  createAccount(input?: {
    secretKey?: string | undefined
    livemode?: boolean | undefined
    country?: string | undefined
    default_currency?: string | undefined
    name?: string | undefined
  }): AccountView & { secretKey: string }
  accounts(): AccountView[]
  /** A further key of the account, as after rolling one. `rk` is a restricted one. */
  createKey(account: AccountReference, kind?: 'sk' | 'rk'): string
  /** The key is refused from now on. */
  revokeKey(key: string): void
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
  }
}

function accountView({ profile }: Account): AccountView {
  const { id, name, livemode, country, defaultCurrency } = profile
  return { id, name, livemode, country, default_currency: defaultCurrency }
}

/** An account by its id or by one of its keys. @throws NotPossible when there is none. */
export function findAccount(state: FakeState, reference: string): Account {
  const account = state.accounts.get(reference) ?? state.accounts.open(reference)
  if (typeof account === 'string') throw new InvalidState(`${account} account or key`)
  return account
}

/** What is done by hand in an account; no API request caused it. */
export function manualScope(state: FakeState, account: Account): Scope {
  return { world: state, account, cause: NO_REQUEST }
}

/** The account that holds an object, whichever it is. @throws NotPossible when none does. */
export function findOwner(state: FakeState, id: string): { scope: Scope; object: Row } {
  for (const account of state.accounts.all()) {
    const object = account.find(id)
    if (object !== undefined) return { scope: manualScope(state, account), object }
  }
  throw new InvalidState(`There is no object ${id}`)
}
