import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import { AppError } from '../shared/errors.ts'
import type { App } from './route-deps.ts'

/**
 * The two inline styles of react-aria, for touch screens. Another release may have others; then the tests in
 * a browser fail.
 */
const STYLES_OF_COMPONENTS = [
  "'sha256-38RhXrc7EdReTKsOm23ZPOCUgniTUUcjky8QOOrQx6o='",
  "'sha256-gYiS/BvZvRcK27JIXTuwhZ3hs2+VJ1X+2gUlE+farlg='",
]

/**
 * Only files of this service, and no inline script. The pages set styles of elements from scripts, which
 * the policy allows.
 */
const POLICY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'", ...STYLES_OF_COMPONENTS],
    imgSrc: ["'self'", 'data:'],
    fontSrc: ["'self'"],
    connectSrc: ["'self'"],
    formAction: ["'self'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"],
  },
}

const PAGES = [
  { page: 'portal.html', paths: ['/portal', '/portal/*'] },
  { page: 'console.html', paths: ['/console', '/console/*'] },
  { page: 'sign-in.html', paths: ['/sign-in'] },
]

/** The name of a file contains a hash of its content. */
const ASSET_AGE_MS = 365 * 86_400_000

/** Where `npm run build` puts the pages: beside the compiled service. */
function builtFolder(): string {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const isCompiled = import.meta.url.endsWith('.js')
  return isCompiled ? join(root, 'web') : join(root, 'dist', 'web')
}

/**
 * The web applications: `/portal` for sponsors, `/console` for staff, `/sign-in`. They are files; all data
 * comes from the API.
 *
 * @param folder of the built pages.
 */
export async function addWebPages(app: App, folder: string = builtFolder()): Promise<void> {
  const schema = { hide: true }
  app.get('/', { config: { access: 'public' }, schema }, async (_request, reply) =>
    reply.redirect('/sign-in'),
  )
  await app.register(fastifyStatic, { root: folder, serve: false, preCompressed: true })
  const config = { access: 'public' as const, helmet: { contentSecurityPolicy: POLICY } }
  for (const { page, paths } of PAGES) {
    for (const path of paths) {
      app.get(path, { config, schema }, async (_request, reply) => {
        if (!existsSync(join(folder, page))) throw notBuilt()
        // A page names the files of its release, so it must be fresh after an upgrade.
        return reply
          .sendFile(page, { cacheControl: false, etag: true })
          .header('cache-control', 'no-cache')
      })
    }
  }
  app.get('/assets/:file', { config: { access: 'public' }, schema }, async (request, reply) => {
    const { file } = request.params as { file: string }
    return reply.sendFile(`assets/${file}`, { maxAge: ASSET_AGE_MS, immutable: true })
  })
}

function notBuilt(): AppError {
  return new AppError('not_found', 'The pages are not built. Run `npm run build`.')
}
