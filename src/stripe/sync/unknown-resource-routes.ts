import type { FastifyRequest } from 'fastify'
import type { App } from '../../http/route-deps.ts'
import { AppError } from '../../shared/errors.ts'
import { findResource } from './all-resources.ts'
import { unknownResource } from './unknown-resource.ts'

/**
 * What an unknown path below `path` answers: a name that is no resource gets the list of those that
 * are. Not routes of their own: those would stand in the API's document, and in the way of others.
 */
export function unknownResourceRoutes(app: App, path: string): void {
  // Beside the resources there are pages such as `events`. Asked only with what is plainly a name,
  // since the router reads a pattern.
  const isPage = (name: string) =>
    /^[a-z-]+$/.test(name) && app.hasRoute({ method: 'GET', url: `${path}/${name}` })

  void app.register(
    async (scope) => {
      scope.setNotFoundHandler((request) => {
        const name = nameIn(request)
        if (name !== '' && findResource(name) === undefined && !isPage(name)) {
          throw unknownResource()
        }
        throw new AppError('not_found', `There is no ${request.method} on this path.`)
      })
    },
    { prefix: path },
  )
}

/** The part of the path that should name a resource. */
function nameIn({ params }: FastifyRequest): string {
  // `*` is what fastify calls the rest of a path that it found no route for.
  const { '*': rest = '' } = params as { '*'?: string }
  return rest.split('/')[0] ?? ''
}
