import type { Account } from '../core/account.ts'
import { NotPossible } from '../core/not-possible.ts'
import type { Row } from '../core/rows.ts'
import { OWN_MOTION, type Scope } from '../core/scope.ts'
import type { World } from '../core/world.ts'

/** An account by its id or by one of its keys. @throws NotPossible when there is none. */
export function findAccount(world: World, reference: string): Account {
  const account = world.accounts.get(reference) ?? world.accounts.open(reference)
  if (typeof account === 'string') throw new NotPossible(`${account} account or key`)
  return account
}

/** What is done by hand in an account; no API request caused it. */
export function handScope(world: World, account: Account): Scope {
  return { world, account, cause: OWN_MOTION }
}

/** The account that holds an object, whichever it is. @throws NotPossible when none does. */
export function ownerOf(world: World, id: string): { scope: Scope; object: Row } {
  for (const account of world.accounts.all()) {
    const object = account.find(id)
    if (object !== undefined) return { scope: handScope(world, account), object }
  }
  throw new NotPossible(`There is no object ${id}`)
}
