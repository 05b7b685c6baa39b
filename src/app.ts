/** The Hono app: middleware in order, the table of routes, and what every error becomes. */
import { createMiddleware } from 'hono/factory'
import { secureHeaders } from 'hono/secure-headers'
import { routes as apiKeys } from './api-keys/routes.ts'
import { routes as assets } from './assets/routes.ts'
import { routes as audit } from './audit/routes.ts'
import { routes as auth } from './auth/routes.ts'
import { routes as catalogue } from './catalogue/routes.ts'
import { routes as channels } from './channels/routes.ts'
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

/** Whether a route, and not only the middleware of all, takes the method there. Hono answers HEAD by GET. */
const takes = (method: string, path: string): boolean => {
  const routed = method === 'HEAD' ? 'GET' : method
  return app.router.match(routed, path)[0].some(([[, route]]) => route.method === routed)
}

/** The methods of paths that a route spells out, by path. */
const spelledOut = new Map<string, string[]>()

/** What a route spells out is not also an id in the path of another. @throws {AppError} method_not_allowed */
const checkMethod = createMiddleware<AppEnv>((c, next) => {
  const { path, method } = c.req
  const spelled = spelledOut.get(path)
  if (spelled ? spelled.includes(method) : takes(method, path)) return next()
  const allowed = spelled ?? METHODS.filter((other) => takes(other, path))
  if (allowed.length === 0) return next()
  throw new AppError('method_not_allowed', { headers: { allow: allowed.join(', ') } })
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
  channels,
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

const spelled = app.routes.filter(({ method, path }) => METHODS.includes(method) && !/[:*{]/.test(path))
for (const [path, routes] of Map.groupBy(spelled, (route) => route.path)) {
  const methods = routes.map(({ method }) => method)
  spelledOut.set(
    path,
    METHODS.filter((method) => methods.includes(method === 'HEAD' ? 'GET' : method)),
  )
}
