import type { Principal } from '../http/access-rule.ts'
import type { Actor } from '../shared/actor.ts'

// Whoever can run a command holds the database's password, so it acts as the platform itself.
const ID = 'cli'

/** Who the history names for what a command did. */
export const CLI_ACTOR: Actor = { kind: 'operator', id: ID }

/** The same, where keys are handed out. */
export const CLI_PRINCIPAL: Principal = { role: 'operator', keyId: ID }
