import type { Account } from '../core/account.ts'
import type { World } from '../core/world.ts'
import { findAccount } from './find-object.ts'

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
