/** The routes of signing up, in and out, and of one's profile, password and sessions. */
import { z } from 'zod'
import { Email, IdPath, json, jsonBody, Timestamp, text } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
import { roles } from '../words.ts'
import { factorKinds } from './factors/mfa-tokens.ts'
import { isCommonPassword } from './passwords.ts'
import { refresh } from './refresh-tokens.ts'
import {
  changePassword,
  getMe,
  listSessions,
  register,
  revokeSession,
  type Session,
  signIn,
  signOut,
  type User,
  updateMe,
} from './sessions.ts'

const tag = 'Auth'

const newPassword = z
  .string()
  .min(10)
  .max(128)
  .refine((value) => value.isWellFormed(), 'must be well-formed Unicode')
  .refine((value) => !isCommonPassword(value), 'must not be one of the most common passwords')

const UserView = z
  .object({ id: z.uuid(), email: z.email(), name: z.string().nullable(), createdAt: Timestamp })
  .openapi('User')

const TokensView = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().describe('Seconds'),
    refresh_token: z.string(),
  })
  .openapi('Tokens')

export const SignedInView = z
  .object({
    ...TokensView.shape,
    device_token: z
      .string()
      .describe(
        'To be kept by the device, and sent along when it signs in again: strangers who try passwords then do not slow it down',
      ),
  })
  .openapi('SignedIn')

const SecondStepView = z
  .object({
    mfa_token: z.string(),
    expires_in: z.int().describe('Seconds'),
    methods: z.array(z.enum(factorKinds)).describe('What the person has'),
  })
  .openapi('SecondStep')

const presentUser = (row: User): z.output<typeof UserView> => ({
  id: row.id,
  email: row.email,
  name: row.name,
  createdAt: row.createdAt.toISOString(),
})

const SessionView = z
  .object({
    id: z.uuid(),
    current: z.boolean(),
    ip: z.string().nullable(),
    userAgent: z.string().nullable(),
    createdAt: Timestamp,
    expiresAt: Timestamp,
  })
  .openapi('Session')

const presentSession = (row: Session): z.output<typeof SessionView> => ({
  id: row.id,
  current: row.current,
  ip: row.ip,
  userAgent: row.userAgent,
  createdAt: row.createdAt.toISOString(),
  expiresAt: row.expiresAt.toISOString(),
})

export const routes = createRouter()

routes.openapi(
  operation('user.create', {
    method: 'post',
    path: '/auth/register',
    tag,
    summary: 'Sign up',
    scope: 'public',
    limits: ['register-ip'],
    request: jsonBody(
      z.strictObject({
        email: Email,
        password: newPassword,
        name: text({ max: 100 }).optional(),
      }),
    ),
    responses: { 201: json(z.object({ user: UserView, ...SignedInView.shape }), 'The user, signed in') },
    refuses: ['email_taken'],
  }),
  async (c) => {
    const { user, ...tokens } = await register(c.get('ctx'), c.req.valid('json'))
    c.header('cache-control', 'no-store')
    c.header('location', '/api/v1/auth/me')
    return c.json({ user: presentUser(user), ...tokens }, 201)
  },
)

routes.openapi(
  operation('session.create', {
    method: 'post',
    path: '/auth/login',
    tag,
    summary: 'Sign in',
    scope: 'public',
    description:
      'Failing sign-ins slow down per network and per address. A device that sends the `device_token` of an earlier sign-in is counted by itself.',
    limits: [
      'login-ip',
      'login-ip-hour',
      'login-ip-day',
      'login-email',
      'login-email-hour',
      'login-email-day',
      'login-device',
      'login-device-day',
    ],
    request: jsonBody(
      z.strictObject({
        email: Email,
        password: z.string().max(1024),
        device_token: z.string().max(1000).optional(),
      }),
    ),
    responses: {
      200: json(SignedInView, 'The tokens'),
      202: json(
        SecondStepView,
        'The password is right, and a second factor is asked for: `POST /auth/login/mfa`',
      ),
    },
    refuses: ['invalid_credentials'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    const answer = await signIn(c.get('ctx'), c.req.valid('json'))
    return 'mfa_token' in answer ? c.json(answer, 202) : c.json(answer, 200)
  },
)

routes.openapi(
  operation('session.refresh', {
    method: 'post',
    path: '/auth/refresh',
    tag,
    summary: 'New tokens for a refresh token',
    description:
      'Each refresh token is good for one rotation. Sent again within 60 seconds it gives the same new one; sent again later it revokes the session.',
    scope: 'public',
    limits: ['refresh-ip'],
    request: jsonBody(z.strictObject({ refresh_token: z.string().max(400) })),
    responses: { 200: json(TokensView, 'The tokens') },
    refuses: ['unauthorized', 'refresh_token_reused'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await refresh(c.get('ctx'), c.req.valid('json').refresh_token), 200)
  },
)

routes.openapi(
  operation('session.revoke', {
    method: 'post',
    path: '/auth/logout',
    tag,
    summary: 'Sign out; the session is revoked at once',
    description: 'Answers 403 to the session cookie of a front end, which ends its own sessions.',
    scope: 'user',
    responses: { 204: { description: 'Signed out' } },
  }),
  async (c) => {
    await signOut(c.get('ctx'))
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('user.get', {
    method: 'get',
    path: '/auth/me',
    tag,
    summary: 'The caller, and the workspaces that they belong to',
    scope: 'user',
    responses: {
      200: json(
        UserView.extend({
          workspaces: z.array(
            z.object({ id: z.uuid(), name: z.string(), slug: z.string(), role: z.enum(roles) }),
          ),
        }),
        'The caller',
      ),
    },
  }),
  async (c) => {
    const { workspaces, ...user } = await getMe(c.get('ctx'))
    return c.json({ ...presentUser(user), workspaces }, 200)
  },
)

routes.openapi(
  operation('user.update', {
    method: 'patch',
    path: '/auth/me',
    tag,
    summary: "Change the caller's name",
    scope: 'user',
    request: jsonBody(z.strictObject({ name: text({ max: 100 }) })),
    responses: { 200: json(UserView, 'The caller') },
  }),
  async (c) => c.json(presentUser(await updateMe(c.get('ctx'), c.req.valid('json').name)), 200),
)

routes.openapi(
  operation('password.update', {
    method: 'post',
    path: '/auth/password',
    tag,
    summary: "Change the caller's password; other sessions are revoked",
    scope: 'user',
    stepUp: true,
    limits: ['password'],
    request: jsonBody(z.strictObject({ currentPassword: z.string().max(1024), newPassword })),
    responses: { 204: { description: 'Changed' } },
    refuses: ['invalid_credentials'],
  }),
  async (c) => {
    await changePassword(c.get('ctx'), c.req.valid('json'))
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('session.list', {
    method: 'get',
    path: '/auth/sessions',
    tag,
    summary: "The caller's sessions in force, newest first",
    scope: 'user',
    request: { query: Paging },
    responses: { 200: json(listOf(SessionView), 'A page of sessions') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listSessions(c.get('ctx'), query), query.limit, presentSession), 200)
  },
)

routes.openapi(
  operation('session.delete', {
    method: 'delete',
    path: '/auth/sessions/{id}',
    tag,
    summary: "Revoke one of the caller's sessions at once",
    scope: 'user',
    request: { params: IdPath },
    responses: { 204: { description: 'Revoked' } },
    refuses: ['not_found'],
  }),
  async (c) => {
    await revokeSession(c.get('ctx'), c.req.valid('param').id)
    return c.body(null, 204)
  },
)
