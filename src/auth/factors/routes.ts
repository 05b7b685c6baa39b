/** The routes of second factors. */
import { z } from 'zod'
import { json, jsonBody, located } from '../../http/contract.ts'
import { operation } from '../../http/operation.ts'
import { createRouter } from '../../http/router.ts'
import { TokensView } from '../routes.ts'
import { confirmTotp, createTotp, deleteTotp, getFactors } from './factors.ts'
import { factorKinds } from './mfa-tokens.ts'
import { completeSignIn } from './second-step.ts'

const tag = 'Auth'

/** Of an app, or a recovery code. */
const code = z.string().max(40)

const RecoveryCodes = z
  .array(z.string())
  .describe('Each signs in once, in the place of a lost factor. They are shown this once: keep them safe.')

export const routes = createRouter()

routes.openapi(
  operation('factor.get', {
    method: 'get',
    path: '/auth/mfa',
    tag,
    summary: "The caller's second factors",
    scope: 'user',
    responses: {
      200: json(
        z.object({ methods: z.array(z.enum(factorKinds)), recoveryCodesLeft: z.int() }).openapi('Factors'),
        'What the caller has',
      ),
    },
  }),
  async (c) => c.json(await getFactors(c.get('ctx')), 200),
)

routes.openapi(
  operation('totp.create', {
    method: 'post',
    path: '/auth/mfa/totp',
    tag,
    summary: 'A secret for an authenticator app (RFC 6238)',
    description:
      'It counts once `POST /auth/mfa/totp/confirm` has had a code of it; until then another call replaces it.',
    scope: 'user',
    responses: {
      201: {
        ...json(
          z.object({
            secret: z.string().describe('Base32, to be typed'),
            otpauthUrl: z.string().describe('To be shown as a QR code'),
          }),
          'The secret, which is shown this once',
        ),
        headers: located,
      },
    },
    refuses: ['already_enrolled'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    c.header('location', '/api/v1/auth/mfa')
    return c.json(await createTotp(c.get('ctx')), 201)
  },
)

routes.openapi(
  operation('totp.confirm', {
    method: 'post',
    path: '/auth/mfa/totp/confirm',
    tag,
    summary: 'Turn the second factor on, by a code of the app',
    description:
      'From then on signing in by password asks for a code as well. Recovery codes from before work no more. If the answer is lost, `DELETE /auth/mfa` and begin again.',
    scope: 'user',
    request: jsonBody(z.strictObject({ code })),
    responses: { 200: json(z.object({ recoveryCodes: RecoveryCodes }), 'Turned on') },
    refuses: ['invalid_code', 'not_found'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json({ recoveryCodes: await confirmTotp(c.get('ctx'), c.req.valid('json').code) }, 200)
  },
)

routes.openapi(
  operation('totp.delete', {
    method: 'delete',
    path: '/auth/mfa',
    tag,
    summary: 'Ask for codes of the app no more',
    description: 'Recovery codes go with the last factor.',
    scope: 'user',
    responses: { 204: { description: 'Turned off, also if it was off' } },
  }),
  async (c) => {
    await deleteTotp(c.get('ctx'))
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('session.confirm', {
    method: 'post',
    path: '/auth/login/mfa',
    tag,
    summary: 'Sign in: the second step',
    description:
      'The `mfa_token` of `POST /auth/login` with a code of the app, which works once, or a recovery code. The token is good for five minutes, for one sign-in, and until the password changes.',
    scope: 'public',
    limits: ['login-ip'],
    request: jsonBody(z.strictObject({ mfa_token: z.string().max(1000), code })),
    responses: { 200: json(TokensView, 'The tokens') },
    refuses: ['unauthorized', 'invalid_code', 'token_used'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await completeSignIn(c.get('ctx'), c.req.valid('json')), 200)
  },
)
