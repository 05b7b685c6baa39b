/** The OpenAPI document, generated from the contracts, and the page that shows it. */
import { hash } from 'node:crypto'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { problemHeaders } from './problems.ts'
import { type AppEnv, createRouter } from './router.ts'

const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js']

const script = `SwaggerUIBundle({ url: '/api/v1/openapi.json', dom_id: '#docs', deepLinking: true, persistAuthorization: true, validatorUrl: null })`

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Merchant content API</title>
<link rel="stylesheet" href="/docs/${ASSETS[0]}">
<div id="docs"></div>
<script src="/docs/${ASSETS[1]}"></script>
<script>${script}</script>
`

/** Nothing but the page's own; Swagger UI writes styles and pictures into the page itself. */
const contentSecurityPolicy = [
  "default-src 'none'",
  `script-src 'self' 'sha256-${hash('sha256', script, 'base64')}'`,
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const description = `Sign in, send \`Authorization: Bearer <access token>\`, and name the workspace in \`X-Workspace-Id\`
(it may be left out by those who belong to exactly one). Errors are problem details (RFC 9457) with a stable \`code\`.
Every answer has the headers \`X-Request-Id\` and \`Server-Timing\`, and where limits count \`RateLimit\` and \`RateLimit-Policy\`
(draft-ietf-httpapi-ratelimit-headers).`

const tags = {
  Health: 'Whether the service works, and the public keys of its access tokens.',
  Auth: 'Signing up, in and out; the profile, address, password and sessions of the caller.',
  Workspaces: 'The tenants, their members and their invites.',
  Assets: 'The files of a workspace.',
  Channels: 'What sales channels demand of pictures and films, and copies that meet it.',
  Generations: 'Images and videos made by models, as jobs with live progress.',
  Credits: 'What was used, and every reservation, charge and refund.',
  Audit: 'Who did what in a workspace, append-only and chained by hashes.',
  'API keys': 'Keys by which servers act in one workspace.',
  Webhooks: 'Endpoints that are told what happens to generations, and what was sent to them.',
}

type Router = OpenAPIHono<AppEnv>

const securitySchemes = {
  accessToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  apiKey: { type: 'http', scheme: 'bearer', bearerFormat: 'mck_…' },
  authjs: { type: 'apiKey', in: 'cookie', name: '__Secure-authjs.session-token' },
} as const

/**
 * Generators take a field with a `default` for one that is always there, also where it need not be sent: of a body's fields
 * it is said in words.
 */
const spellDefaults = (schema: unknown): void => {
  if (typeof schema !== 'object' || schema === null) return
  for (const value of Object.values(schema)) spellDefaults(value)
  if (!('properties' in schema) || typeof schema.properties !== 'object') return
  for (const field of Object.values(schema.properties ?? {})) {
    if (field.default === undefined) continue
    const isEmpty = Array.isArray(field.default) && field.default.length === 0
    const words = `Default ${isEmpty ? 'none' : `\`${field.default}\``}`
    field.description = field.description ? `${words}. ${field.description}` : words
    delete field.default
  }
}

/** OpenAPI 3.1 of all these routes; scripts/docs.ts writes it to client/openapi.json. @public */
export const openApiOf = (all: Router, url: string) => {
  for (const [name, scheme] of Object.entries(securitySchemes)) {
    all.openAPIRegistry.registerComponent('securitySchemes', name, scheme)
  }
  for (const [name, header] of Object.entries(problemHeaders)) {
    all.openAPIRegistry.registerComponent('headers', name, header)
  }
  const document = all.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Merchant content API',
      version: '1',
      description,
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
    },
    servers: [{ url }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
  })
  spellDefaults(document)
  const { webhooks = {} } = document
  // By name: only routes have a base path.
  document.webhooks = Object.fromEntries(
    Object.entries(webhooks).map(([path, item]) => [path.replace(/^.*\//, ''), item]),
  )
  return document
}

/** The document of what `loadAll` loads, and the page. */
export const docsOf = (loadAll: () => Promise<Router>): Router => {
  const routes = createRouter()
  routes.get('/api/v1/openapi.json', async (c) => c.json(openApiOf(await loadAll(), c.get('env').PUBLIC_URL)))
  routes.get('/docs', (c) => c.html(page, 200, { 'content-security-policy': contentSecurityPolicy }))
  for (const file of ASSETS) {
    routes.get(`/docs/${file}`, async (c) => {
      const found = await c.env.ASSETS.fetch(new URL(`/${file}`, c.req.url))
      // A fetched one takes no further headers.
      return new Response(found.body, found)
    })
  }
  return routes
}
