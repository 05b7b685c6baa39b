/** The Hono app: middleware in order, the table of routes, and what every error becomes. */
import { createMiddleware } from 'hono/factory'
import { matchedRoutes } from 'hono/route'
import { secureHeaders } from 'hono/secure-headers'
import { routes as apiKeys } from './api-keys/routes.ts'
import { routes as assets } from './assets/routes.ts'
import { routes as audit } from './audit/routes.ts'
import { routes as auth } from './auth/routes.ts'
import { routes as catalogue } from './catalogue/routes.ts'
import { routes as credits } from './credits/routes.ts'
import { AppError } from './errors.ts'
import { routes as events } from './events/routes.ts'
import { routes as generations } from './generations/routes.ts'
import { routes as health } from './health/routes.ts'
import { mountDocs } from './http/docs.ts'
import {
  allowOrigins,
  checkContentType,
  checkEncoding,
  configure,
  identify,
  limitBody,
  METHODS,
} from './http/middleware.ts'
import { problemResponse } from './http/problems.ts'
import { type AppEnv, createRouter } from './http/router.ts'
import { routes as providers } from './providers/routes.ts'
import { routes as webhooks } from './webhooks/routes.ts'
import { routes as people } from './workspaces/people/routes.ts'
import { routes as workspaces } from './workspaces/routes.ts'

export const app = createRouter()

/** Hono answers HEAD by GET. */
const routedAs = (method: string) => (method === 'HEAD' ? 'GET' : method)

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
  limitBody,
  checkEncoding,
)

app.route('/', health)
for (const routes of [
  auth,
  workspaces,
  people,
  assets,
  catalogue,
  generations,
  events,
  providers,
  credits,
  audit,
  apiKeys,
  webhooks,
]) {
  app.route('/api/v1', routes)
}
mountDocs(app)

app.onError((thrown, c) => problemResponse(thrown, c.get('requestId')))

app.notFound((c) =>
  problemResponse(new AppError('not_found', { detail: 'There is no such route.' }), c.get('requestId')),
)
