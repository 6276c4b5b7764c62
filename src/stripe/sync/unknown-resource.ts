import { AppError } from '../../shared/errors.ts'
import { ALL_RESOURCES } from './all-resources.ts'

/** The 404 for a name that is no resource of the mirror. It lists those that are. */
export function unknownResource(): AppError {
  const known = ALL_RESOURCES.map(({ name }) => name)
  // Without the name that was asked for: the log gets the text, and a path may hold anything.
  const detail = `The mirror has no such resource. Known are ${known.join(', ')}.`
  return new AppError('not_found', detail, { extra: { known_resources: known } })
}
