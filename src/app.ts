/** The Hono app: middleware in order, the table of routes, and what every error becomes. */
import { createMiddleware } from 'hono/factory'
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

/** The methods of a path; one that a route spells out is not also an id in the path of another. */
const methodsOf = (path: string): string[] => {
  /** The paths of the routes, and not only of the middleware of all, that take the method there. */
  const routesFor = (method: string) =>
    app.router.match(method, path)[0].flatMap(([[, route]]) => (route.method === method ? [route.path] : []))
  // Hono answers HEAD by GET.
  const taken = METHODS.map((method) => ({ method, paths: routesFor(method === 'HEAD' ? 'GET' : method) }))
  const exact = taken.filter(({ paths }) => paths.includes(path))
  const fitting = exact.length > 0 ? exact : taken.filter(({ paths }) => paths.length > 0)
  return fitting.map(({ method }) => method)
}

/** @throws {AppError} method_not_allowed */
const checkMethod = createMiddleware<AppEnv>(async (c, next) => {
  const allowed = methodsOf(c.req.path)
  if (allowed.length > 0 && !allowed.includes(c.req.method)) {
    throw new AppError('method_not_allowed', { headers: { allow: allowed.join(', ') } })
  }
  await next()
})

app.use(
  identify,
  secureHeaders(),
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

app.onError((thrown, c) => problemResponse(thrown, c.var.requestId))

app.notFound((c) =>
  problemResponse(new AppError('not_found', { detail: 'There is no such route.' }), c.var.requestId),
)
