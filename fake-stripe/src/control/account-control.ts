import type { Account } from '../core/accounts.ts'
import { InvalidState } from '../core/errors.ts'
import type { Row } from '../core/rows.ts'
import { NO_REQUEST, type Scope, type World } from '../core/scope.ts'

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

export function accountControl(world: World): AccountControl {
  return {
    createAccount({ default_currency: defaultCurrency, ...input } = {}) {
      const { account, secretKey } = world.accounts.create({ ...input, defaultCurrency })
      return { ...accountView(account), secretKey }
    },
    accounts: () => world.accounts.all().map(accountView),
    createKey: (account, kind) => world.accounts.addKey(findAccount(world, account), kind),
    revokeKey: (key) => world.accounts.revokeKey(key),
  }
}

function accountView({ profile }: Account): AccountView {
  const { id, name, livemode, country, defaultCurrency } = profile
  return { id, name, livemode, country, default_currency: defaultCurrency }
}

/** An account by its id or by one of its keys. @throws NotPossible when there is none. */
export function findAccount(world: World, reference: string): Account {
  const account = world.accounts.get(reference) ?? world.accounts.open(reference)
  if (typeof account === 'string') throw new InvalidState(`${account} account or key`)
  return account
}

/** What is done by hand in an account; no API request caused it. */
export function manualScope(world: World, account: Account): Scope {
  return { world, account, cause: NO_REQUEST }
}

/** The account that holds an object, whichever it is. @throws NotPossible when none does. */
export function findOwner(world: World, id: string): { scope: Scope; object: Row } {
  for (const account of world.accounts.all()) {
    const object = account.find(id)
    if (object !== undefined) return { scope: manualScope(world, account), object }
  }
  throw new InvalidState(`There is no object ${id}`)
}
