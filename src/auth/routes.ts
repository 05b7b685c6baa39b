/** The sign-in routes. */
import { z } from 'zod'
import { roles } from '../db/schema.ts'
import { createRoute, createRouter, json, jsonBody, operation, problemsOf, Timestamp, text } from '../http.ts'
import { isCommonPassword } from './passwords.ts'
import { getMe, register, signIn, signOut } from './sessions.ts'

const tag = 'Auth'

const email = z
  .string()
  .trim()
  .toLowerCase()
  .max(254)
  .pipe(z.email())
  .openapi({ type: 'string', format: 'email', maxLength: 254 })

const User = z
  .object({ id: z.uuid(), email: z.email(), name: z.string().nullable(), createdAt: Timestamp })
  .openapi('User')

const Tokens = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().describe('Seconds'),
    refresh_token: z.string(),
  })
  .openapi('Tokens')

const presentUser = (user: { id: string; email: string; name: string | null; createdAt: Date }) => ({
  id: user.id,
  email: user.email,
  name: user.name,
  createdAt: user.createdAt.toISOString(),
})

const signInProblems = [
  'malformed_json',
  'payload_too_large',
  'unsupported_media_type',
  'rate_limited',
] as const

const registerRoute = createRoute({
  method: 'post',
  path: '/register',
  ...operation('user.create', { tag, summary: 'Sign up', scope: 'public', limits: ['register-ip'] }),
  request: jsonBody(
    z.strictObject({
      email,
      password: z
        .string()
        .min(10)
        .max(128)
        .refine((value) => value.isWellFormed(), 'is not well-formed Unicode')
        .refine((value) => !isCommonPassword(value), 'is one of the commonest passwords'),
      name: text({ max: 100 }).optional(),
    }),
  ),
  responses: {
    201: json(z.object({ user: User, ...Tokens.shape }), 'The user, signed in'),
    ...problemsOf(...signInProblems, 'email_taken'),
  },
})

const loginRoute = createRoute({
  method: 'post',
  path: '/login',
  ...operation('session.create', {
    tag,
    summary: 'Sign in',
    scope: 'public',
    limits: ['login-ip', 'login-email'],
  }),
  request: jsonBody(z.strictObject({ email, password: z.string().max(1024) })),
  responses: { 200: json(Tokens, 'Tokens'), ...problemsOf(...signInProblems, 'invalid_credentials') },
})

const logoutRoute = createRoute({
  method: 'post',
  path: '/logout',
  ...operation('session.revoke', { tag, summary: 'Sign out: the session ends at once', scope: 'user' }),
  responses: { 204: { description: 'Signed out' }, ...problemsOf('unsupported_media_type') },
})

const meRoute = createRoute({
  method: 'get',
  path: '/me',
  ...operation('user.get', { tag, summary: 'Who am I, and in which workspaces?', scope: 'user' }),
  responses: {
    200: json(
      User.extend({
        workspaces: z.array(
          z.object({ id: z.uuid(), name: z.string(), slug: z.string(), role: z.enum(roles) }),
        ),
      }),
      'The caller',
    ),
    ...problemsOf(),
  },
})

export const authRoutes = createRouter()
  .openapi(registerRoute, async (c) => {
    const { user, ...tokens } = await register(c.var.ctx, c.req.valid('json'))
    c.header('cache-control', 'no-store')
    return c.json({ user: presentUser(user), ...tokens }, 201)
  })
  .openapi(loginRoute, async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await signIn(c.var.ctx, c.req.valid('json')), 200)
  })
  .openapi(logoutRoute, async (c) => {
    await signOut(c.var.ctx)
    return c.body(null, 204)
  })
  .openapi(meRoute, async (c) => {
    const { workspaces, ...user } = await getMe(c.var.ctx)
    return c.json({ ...presentUser(user), workspaces }, 200)
  })
