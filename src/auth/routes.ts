/** The routes of signing up, in and out, and of one's profile, password and sessions. */
import { z } from 'zod'
import { Email, IdPath, json, jsonBody, located, nameText, Timestamp } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
import { roles } from '../words.ts'
import { exportUser } from './export.ts'
import { factorKinds } from './factors/mfa-tokens.ts'
import { leave } from './leaving.ts'
import { isAddress, isCommonPassword, OWN_ADDRESS } from './passwords.ts'
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

export const newPassword = z
  .string()
  .min(10, { abort: true })
  .max(128)
  .refine(
    (value) => value.isWellFormed() && !/\p{Cc}/u.test(value),
    'must be well-formed Unicode without control characters',
  )
  .refine((value) => value.trim().length >= 10, 'must have 10 characters besides blanks around them')
  .refine((value) => !isCommonPassword(value), 'must not be one of the most common passwords')

export const UserView = z
  .object({
    id: z.uuid(),
    email: z
      .email()
      .nullable()
      .describe('Null after somebody else has proved the address that this account only claimed'),
    emailVerified: z.boolean().describe('Whether the caller has proved to read its mail'),
    name: z.string().nullable(),
    createdAt: Timestamp,
  })
  .openapi('User')

const TokensView = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().describe('Seconds'),
    refresh_token: z.string(),
  })
  .openapi('Tokens')

export const DeviceToken = z
  .string()
  .describe(
    'To be kept by the device, in the place of an earlier one, and sent along when it signs in again: strangers who try passwords then do not slow it down',
  )

export const SignedInView = z.object({ ...TokensView.shape, device_token: DeviceToken }).openapi('SignedIn')

const SecondStepView = z
  .object({
    mfa_token: z.string(),
    expires_in: z.int().describe('Seconds'),
    methods: z.array(z.enum(factorKinds)).describe('What the person has'),
  })
  .openapi('SecondStep')

export const presentUser = (row: User): z.output<typeof UserView> => ({
  id: row.id,
  email: row.email,
  emailVerified: row.emailVerifiedAt !== null,
  name: row.name,
  createdAt: row.createdAt.toISOString(),
})

const SessionView = z
  .object({
    id: z.uuid(),
    current: z.boolean(),
    ip: z.string().nullable().describe('Of the last refresh, as is the country'),
    country: z.string().nullable().describe('ISO 3166'),
    userAgent: z.string().nullable(),
    device: z.string().nullable().describe('Such as `Firefox on Windows`'),
    createdAt: Timestamp,
    lastUsedAt: Timestamp.describe('To a quarter of an hour'),
    expiresAt: Timestamp,
  })
  .openapi('Session')

const presentSession = (row: Session): z.output<typeof SessionView> => ({
  id: row.id,
  current: row.current,
  ip: row.ip,
  country: row.country,
  userAgent: row.userAgent,
  device: row.device,
  createdAt: row.createdAt.toISOString(),
  lastUsedAt: row.lastUsedAt.toISOString(),
  expiresAt: row.expiresAt.toISOString(),
})

export const routes = createRouter()

routes.openapi(
  operation('user.create', {
    method: 'post',
    path: '/auth/register',
    tag,
    summary: 'Sign up; a mail with a link and a code proves the address',
    description:
      'An address that nobody has proved belongs to nobody yet: whoever proves it first has it, and other accounts that claimed it lose it. Sent again within a quarter of an hour, with the same password, it signs in to the account that it made, unless somebody else has claimed the address in between.',
    scope: 'public',
    limits: ['register-ip'],
    request: jsonBody(
      z
        .strictObject({
          email: Email,
          password: newPassword,
          name: nameText({ max: 100 }).optional(),
        })
        .refine(({ email, password }) => !isAddress(password, email), {
          path: ['password'],
          message: OWN_ADDRESS,
        }),
      { email: 'ann@example.com', password: 'one picture, one store', name: 'Ann' },
    ),
    responses: {
      201: {
        ...json(z.object({ user: UserView, ...SignedInView.shape }), 'The user, signed in'),
        headers: located,
      },
    },
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
      'Sign-ins are limited per network and per address: by the minute all of them, by the hour and the day those that fail. A device that sends the `device_token` of an earlier sign-in is counted by itself, and with the other known devices of its network. A person has up to 100 open sessions: another one ends the oldest.',
    limits: [
      'login-ip',
      'login-ip-hour',
      'login-ip-day',
      'login-email',
      'login-email-hour',
      'login-email-day',
      'login-device',
      'login-device-day',
      'login-device-ip',
    ],
    request: jsonBody(
      z.strictObject({
        email: Email,
        password: z.string().max(1024),
        device_token: z.string().max(1000).optional(),
      }),
      { email: 'ann@example.com', password: 'one picture, one store' },
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
    request: jsonBody(z.strictObject({ refresh_token: z.string().max(400) }), {
      refresh_token: 'the one of the last answer',
    }),
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
          emailBounced: z
            .boolean()
            .describe('Mail to the address has come back: none is sent there for 30 days'),
          workspaces: z.array(
            z.object({ id: z.uuid(), name: z.string(), slug: z.string(), role: z.enum(roles) }),
          ),
        }),
        'The caller',
      ),
    },
  }),
  async (c) => {
    const { workspaces, emailBounced, ...user } = await getMe(c.get('ctx'))
    return c.json({ ...presentUser(user), emailBounced, workspaces }, 200)
  },
)

routes.openapi(
  operation('user.update', {
    method: 'patch',
    path: '/auth/me',
    tag,
    summary: "Change the caller's name",
    scope: 'user',
    request: jsonBody(z.strictObject({ name: nameText({ max: 100 }) }), { name: 'Ann' }),
    responses: { 200: json(UserView, 'The caller') },
  }),
  async (c) => c.json(presentUser(await updateMe(c.get('ctx'), c.req.valid('json').name)), 200),
)

const ExportView = z
  .object({
    status: z.enum(['pending', 'ready']),
    url: z.url().nullable().describe('Of a JSON file; works for five minutes, and there are more'),
    expiresAt: Timestamp.nullable().describe('When the file is deleted'),
  })
  .openapi('UserExport')

routes.openapi(
  operation('user.export', {
    method: 'get',
    path: '/auth/me/export',
    tag,
    summary: 'Everything about the caller, as a file',
    description:
      "The first request has the file made, and a mail tells when it is there: profile, sign-ins by provider, sessions, mails, memberships, keys and invites that the caller made, and what the audit log has of them outside workspaces; of each the newest 5,000, and at most 1.5 MB. What is in workspaces is those workspaces' and not in it. It is kept for a day, and is the same until then.",
    scope: 'user',
    stepUp: true,
    responses: { 200: json(ExportView, 'The file is there'), 202: json(ExportView, 'It is being made') },
  }),
  async (c) => {
    const made = await exportUser(c.get('ctx'))
    c.header('cache-control', 'no-store')
    return c.json(made, made.status === 'ready' ? 200 : 202)
  },
)

routes.openapi(
  operation('user.delete', {
    method: 'delete',
    path: '/auth/me',
    tag,
    summary: 'Delete the account of the caller, in 7 days',
    description:
      'All sessions end and all API keys of the caller stop at once, and their open invites are withdrawn. Signing in before the day comes undoes it, and the keys work again; a mail tells of both. With the account go its sessions, sign-ins by provider, mails and memberships, and the workspaces that nobody else belongs to. The last owner of a workspace with other members is refused: make another member an owner first, or delete the workspace.',
    scope: 'user',
    stepUp: true,
    limits: ['password'],
    responses: {
      202: json(
        z.object({
          deletesAt: Timestamp.describe('When the account goes, unless its person signs in before'),
        }),
        'Accepted',
      ),
    },
    refuses: ['last_owner'],
  }),
  async (c) => c.json({ deletesAt: (await leave(c.get('ctx'))).toISOString() }, 202),
)

routes.openapi(
  operation('password.update', {
    method: 'post',
    path: '/auth/password',
    tag,
    summary: "Change the caller's password to another; other sessions are revoked",
    scope: 'user',
    stepUp: true,
    limits: ['password'],
    request: jsonBody(z.strictObject({ currentPassword: z.string().max(1024), newPassword }), {
      currentPassword: 'one picture, one store',
      newPassword: 'many pictures, many stores',
    }),
    responses: { 200: json(z.object({ device_token: DeviceToken }), 'Changed') },
    refuses: ['invalid_credentials'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json({ device_token: await changePassword(c.get('ctx'), c.req.valid('json')) }, 200)
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
