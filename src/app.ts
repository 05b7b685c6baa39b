/**
 * The API: the table of domains, the middleware in order, and what every error becomes. Each domain is an app that is
 * loaded with the first request for it: whatever is loaded at the start delays the first answer of every isolate.
 */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import { secureHeaders } from 'hono/secure-headers'
import { getPath } from 'hono/utils/url'
import type { RawEnv } from './env.ts'
import { AppError } from './errors.ts'
import { allowOrigins, checkContentType, configure, identify, METHODS, readBody } from './http/middleware.ts'
import { problemResponse } from './http/problems.ts'
import { type AppEnv, createRouter } from './http/router.ts'

type Router = OpenAPIHono<AppEnv>

interface Domain {
  /** Where its routers are mounted, and what the paths begin with that are its own there. */
  root: '/' | '/api/v1'
  parts: string[]
  load(): Promise<Router[]>
}

const below = (root: Domain['root'], parts: string[], load: () => Promise<{ routes: Router }>[]): Domain => ({
  root,
  parts,
  load: async () => (await Promise.all(load())).map(({ routes }) => routes),
})

/** In the order of the reference. */
const domains = [
  below('/', ['health', '.well-known'], () => [import('./health/routes.ts')]),
  below('/api/v1', ['auth'], () => [import('./auth/routes.ts')]),
  below('/api/v1', ['auth/email', 'auth/password/reset'], () => [import('./auth/addresses/routes.ts')]),
  below(
    '/api/v1',
    ['auth/mfa', 'auth/passkeys', 'auth/step-up', 'auth/login/mfa', 'auth/login/passkey'],
    () => [import('./auth/factors/routes.ts')],
  ),
  below('/api/v1', ['workspaces'], () => [
    import('./workspaces/routes.ts'),
    import('./workspaces/people/routes.ts'),
  ]),
  below('/api/v1', ['assets'], () => [
    import('./assets/uploads/routes.ts'),
    import('./assets/routes.ts'),
    import('./channels/routes.ts'),
  ]),
  below('/api/v1', ['models'], () => [import('./catalogue/routes.ts')]),
  below('/api/v1', ['generations', 'events'], () => [
    import('./generations/routes.ts'),
    import('./events/routes.ts'),
  ]),
  below('/api/v1', ['providers'], () => [import('./providers/routes.ts')]),
  below('/api/v1', ['usage', 'credits'], () => [import('./credits/routes.ts')]),
  below('/api/v1', ['audit-logs'], () => [import('./audit/routes.ts')]),
  below('/api/v1', ['api-keys'], () => [import('./api-keys/routes.ts')]),
  below('/api/v1', ['webhooks'], () => [import('./webhooks/routes.ts')]),
]

/** Every domain's routes in one router, for the reference. @public */
export const loadAll = async (): Promise<Router> => {
  const all = createRouter()
  for (const { root, load } of domains) for (const routes of await load()) all.route(root, routes)
  return all
}

const docs: Domain = {
  root: '/',
  parts: ['docs', 'openapi.json'],
  load: async () => [(await import('./http/docs.ts')).docsOf(loadAll)],
}

/** Hono answers HEAD by GET. */
const routedAs = (method: string) => (method === 'HEAD' ? 'GET' : method)

const createApp = (domain?: Domain, routers: Router[] = []) => {
  const app = createRouter()

  /** Whether a route, and not only the middleware of all, takes the method there. */
  const takes = (method: string, path: string): boolean =>
    app.router.match(routedAs(method), path)[0].some(([[, route]]) => route.method === routedAs(method))

  /** @throws {AppError} method_not_allowed */
  const checkMethod = createMiddleware<AppEnv>((c, next) => {
    const { path, method } = c.req
    if (matchedRoutes(c).some((route) => route.method === routedAs(method))) return next()
    const allowed = METHODS.filter((other) => takes(other, path))
    if (allowed.length === 0) return next()
    throw new AppError('method_not_allowed', { headers: { allow: allowed.join(', ') } })
  })

  app.use(
    identify,
    // The others are of pages, or of browsers that are gone.
    secureHeaders({
      crossOriginOpenerPolicy: false,
      originAgentCluster: false,
      xDnsPrefetchControl: false,
      xDownloadOptions: false,
      xPermittedCrossDomainPolicies: false,
      xXssProtection: false,
      removePoweredBy: false,
    }),
    configure,
    allowOrigins,
    checkMethod,
    checkContentType,
    readBody,
  )
  for (const routes of routers) app.route(domain?.root ?? '/', routes)

  app.onError((thrown, c) => problemResponse(thrown, c.get('requestId'), c.get('ctx')?.scope === 'workspace'))

  app.notFound((c) =>
    problemResponse(new AppError('not_found', { detail: 'There is no such route.' }), c.get('requestId')),
  )
  return app
}

/** Segments of what a path begins with. */
const LONGEST = 3
const byPart = new Map([...domains, docs].flatMap((domain) => domain.parts.map((part) => [part, domain])))

/** The one with the longest beginning of the path. */
const domainOf = (path: string): Domain | undefined => {
  const segments = path.replace(/^(\/api\/v1)?\//, '').split('/')
  for (let length = Math.min(segments.length, LONGEST); length > 0; length--) {
    const domain = byPart.get(segments.slice(0, length).join('/'))
    if (domain) return domain
  }
  return undefined
}

/** Also those of no domain have one, by which they are refused. */
const apps = new Map<Domain | undefined, Router>()

/** Nobody awaits what another request loads: that would never settle once its client has left. */
const appOf = async (path: string): Promise<Router> => {
  const domain = domainOf(path)
  const known = apps.get(domain)
  if (known) return known
  const app = createApp(domain, await domain?.load())
  apps.set(domain, app)
  return app
}

export const app = {
  fetch: async (request, raw, executionContext) =>
    (await appOf(getPath(request))).fetch(request, raw, executionContext),
} satisfies ExportedHandler<RawEnv>
