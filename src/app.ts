/** The Hono app: middleware in order, the table of routes, and what every error becomes. */
import { secureHeaders } from 'hono/secure-headers'
import { routes as apiKeys } from './api-keys/routes.ts'
import { routes as assets } from './assets/routes.ts'
import { routes as audit } from './audit/routes.ts'
import { routes as auth } from './auth/routes.ts'
import { routes as credits } from './credits/routes.ts'
import { AppError } from './errors.ts'
import { routes as events } from './events/routes.ts'
import { routes as generations } from './generations/routes.ts'
import { routes as health } from './health/routes.ts'
import { mountDocs } from './http/docs.ts'
import { allowOrigins, checkContentType, configure, identify, limitBody, METHODS } from './http/middleware.ts'
import { problemResponse } from './http/problems.ts'
import { createRouter } from './http/router.ts'
import { routes as providers } from './providers/routes.ts'
import { routes as webhooks } from './webhooks/routes.ts'
import { routes as people } from './workspaces/people/routes.ts'
import { routes as workspaces } from './workspaces/routes.ts'

export const app = createRouter()

app.use(identify, secureHeaders(), configure, allowOrigins, checkContentType, limitBody)

app.route('/', health)
for (const routes of [
  auth,
  workspaces,
  people,
  assets,
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

/** Whether a route, and not only the middleware of all, takes the method there. */
const takes = (method: string, path: string): boolean =>
  app.router.match(method, path)[0].some(([[, route]]) => route.method === method)

app.notFound((c) => {
  // Hono answers HEAD by GET.
  const allowed = METHODS.filter((method) => takes(method === 'HEAD' ? 'GET' : method, c.req.path))
  const error =
    allowed.length > 0
      ? new AppError('method_not_allowed', { headers: { allow: allowed.join(', ') } })
      : new AppError('not_found', { detail: 'There is no such route.' })
  return problemResponse(error, c.var.requestId)
})
