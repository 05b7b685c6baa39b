/** Addresses proved and changed, and passwords reset, by mail. */
import { z } from 'zod'
import { Email, json, jsonBody, Timestamp, typedCode } from '../../http/contract.ts'
import { operation } from '../../http/operation.ts'
import { createRouter } from '../../http/router.ts'
import { DeviceToken, newPassword, presentUser, UserView } from '../routes.ts'
import { askChange, askReset, askVerification, confirmEmail, resetPassword, undoChange } from './addresses.ts'

const tag = 'Auth'

export const routes = createRouter()

/** In examples. */
const MAILED = 'mNn0Zr0lq4Gl2yqXx8Qm3y0hKf5vQy7dW1tB9cE6uA4'
/** Of a link. Another form is none of ours, and no hash is made for it. */
const mailToken = z.string().regex(/^[\w-]{43}$/, 'must be the token of a link')
const mailCode = typedCode(/^\d{8}$/, 'must be the 8 digits of a mail')

routes.openapi(
  operation('email.verify', {
    method: 'post',
    path: '/auth/email/verify',
    tag,
    summary: "Have a link and a code mailed to the caller's address",
    description:
      'Nothing is sent to an address that is proved already. The answer is 404 to an account without address.',
    scope: 'user',
    limits: ['email'],
    responses: { 202: { description: 'Accepted' } },
    refuses: ['not_found'],
  }),
  async (c) => {
    await askVerification(c.get('ctx'))
    return c.body(null, 202)
  },
)

routes.openapi(
  operation('email.confirm', {
    method: 'post',
    path: '/auth/email/verify/confirm',
    tag,
    summary: 'Prove an address by the token of a mailed link, or by the code beside it',
    description:
      'For the account that asked for the mail, whether to prove its address or to change it. A change takes effect when both addresses are proved. Opening the link proves nothing: this request does, and answers the same when it is sent again.',
    scope: 'user',
    limits: ['email-code'],
    request: jsonBody(
      z
        .strictObject({ token: mailToken.optional(), code: mailCode.optional() })
        .refine(
          ({ token, code }) => (token === undefined) !== (code === undefined),
          'must have a token or a code',
        ),
      { token: MAILED },
    ),
    responses: {
      200: json(
        UserView.extend({
          awaits: z
            .enum(['current', 'new'])
            .nullable()
            .describe('The address that has to be proved, too, before a change takes effect'),
        }),
        'The caller',
      ),
    },
    refuses: ['invalid_token', 'email_taken'],
  }),
  async (c) => {
    const { awaits, ...user } = await confirmEmail(c.get('ctx'), c.req.valid('json'))
    return c.json({ ...presentUser(user), awaits }, 200)
  },
)

routes.openapi(
  operation('email.change', {
    method: 'post',
    path: '/auth/email/change',
    tag,
    summary: "Change the caller's address, once both are proved by mail",
    description:
      'A later wish replaces an earlier one. The former address is told, and can undo the change for a day. Whether the new one belongs to somebody does not show.',
    scope: 'user',
    stepUp: true,
    limits: ['email'],
    request: jsonBody(z.strictObject({ email: Email }), { email: 'ann@example.com' }),
    responses: { 202: { description: 'Accepted' } },
  }),
  async (c) => {
    await askChange(c.get('ctx'), c.req.valid('json').email)
    return c.body(null, 202)
  },
)

routes.openapi(
  operation('email.undo', {
    method: 'post',
    path: '/auth/email/change/undo',
    tag,
    summary: 'Take a former address back, by the token that was mailed there',
    description:
      'All sessions end, and a mail lets a new password be set. What the account has got or made since a day before the change goes: sign-ins by provider, second factors, API keys, webhook endpoints (disabled) and open invites; the audit logs of their workspaces say which. Who has joined by such an invite stays: look at the members, and at endpoints that were changed.',
    scope: 'public',
    limits: ['token-ip'],
    request: jsonBody(z.strictObject({ token: mailToken }), { token: MAILED }),
    responses: { 204: { description: 'Undone' } },
    refuses: ['invalid_token', 'email_taken'],
  }),
  async (c) => {
    await undoChange(c.get('ctx'), c.req.valid('json').token)
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('password.reset', {
    method: 'post',
    path: '/auth/password/reset',
    tag,
    summary: 'Have a link mailed by which a password can be set',
    description:
      'Answers the same, in the same time, whether there is an account. Where strangers have asked so often that none is mailed any more, the last link is good for a quarter of an hour at least. A device that sends its `device_token` is counted by itself, whatever others of its network ask for.',
    scope: 'public',
    limits: ['reset-ip', 'reset-ip-day', 'reset-email', 'reset-device'],
    request: jsonBody(z.strictObject({ email: Email, device_token: z.string().max(1000).optional() }), {
      email: 'ann@example.com',
    }),
    responses: { 202: { description: 'Accepted' } },
  }),
  async (c) => {
    await askReset(c.get('ctx'), c.req.valid('json').email)
    return c.body(null, 202)
  },
)

routes.openapi(
  operation('password.confirm', {
    method: 'post',
    path: '/auth/password/reset/confirm',
    tag,
    summary: 'Set a password by the token of a mailed link; all sessions end',
    description:
      'Second factors that are younger than a day go, and the recovery codes with them; older ones stay. API keys stay, too. An account that is to be deleted still is, unless its person signs in. Of an address that nobody has proved, the password is that of the account that claims it and that this device has signed up or in to, as its `device_token` says; without one, of a new account.',
    scope: 'public',
    limits: ['token-ip'],
    request: jsonBody(
      z.strictObject({ token: mailToken, newPassword, device_token: z.string().max(1000).optional() }),
      { token: MAILED, newPassword: 'another picture, another store' },
    ),
    responses: {
      200: json(
        z.object({
          device_token: DeviceToken,
          deletesAt: Timestamp.nullable().describe(
            'When the account goes, unless its person signs in before; null of one that stays',
          ),
        }),
        'Set',
      ),
    },
    refuses: ['invalid_token'],
  }),
  async (c) => {
    const { deviceToken, leavesAt } = await resetPassword(c.get('ctx'), c.req.valid('json'))
    c.header('cache-control', 'no-store')
    return c.json({ device_token: deviceToken, deletesAt: leavesAt?.toISOString() ?? null }, 200)
  },
)
