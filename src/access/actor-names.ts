import type { Tx } from '../db/connect.ts'
import { PREPARED } from '../db/pipeline.ts'
import type { Actor } from '../shared/caller.ts'

/** An actor with a name: an API key, also a revoked one. */
export type NamedActor = { kind: Actor['kind']; name: string }

/**
 * SQL for a NamedActor as JSON; null if there is none with this id. Everything that shows an actor's name
 * reads it here (migrations/0064_history_details.ts).
 *
 * @param id - the column with the actor's id.
 */
export const namedActorOf = (id: string) =>
  `(select json_build_object('kind', a.kind, 'name', a.name) from actor_names a where a.id = ${id})`

/** The name of an actor. */
export async function findNamedActor(trx: Tx, id: string): Promise<NamedActor | null> {
  const query = trx('actor_names').where({ id }).options(PREPARED)
  return (await query.first<NamedActor | undefined>('kind', 'name')) ?? null
}

/** Who acts without a key. */
const NAMES: Partial<Record<Actor['kind'], string>> = { stripe: 'Stripe', system: 'System' }

/**
 * The name of an actor as the caller may see it. A sponsor sees the names of its own keys: those of staff
 * and their keys are internal.
 */
export function visibleName(actor: NamedActor | null, isSponsor: boolean): string | null {
  if (actor === null) return null
  return isSponsor && actor.kind !== 'sponsor' ? null : actor.name
}

/** The same for an actor of the history, which may also be Stripe or this service. */
export function nameInHistory(
  kind: Actor['kind'],
  actor: NamedActor | null,
  isSponsor: boolean,
): string | null {
  return NAMES[kind] ?? visibleName(actor, isSponsor)
}
