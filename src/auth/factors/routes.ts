/** The routes of second factors. */
import { setCookie } from 'hono/cookie'
import { z } from 'zod'
import { IdPath, json, jsonBody, located, nameText, Timestamp, typedCode } from '../../http/contract.ts'
import { operation } from '../../http/operation.ts'
import { listOf, Paging, toPage } from '../../http/paging.ts'
import { createRouter } from '../../http/router.ts'
import { PROOF_COOKIE, PROOF_LIFETIME } from '../proof-cookie.ts'
import { DeviceToken, SignedInView } from '../routes.ts'
import { confirmTotp, createCodes, createTotp, deleteTotp, getFactors } from './factors.ts'
import { factorKinds } from './mfa-tokens.ts'
import {
  createPasskey,
  deletePasskey,
  listPasskeys,
  makeCreationOptions,
  makeRequestOptions,
  type Passkey,
} from './passkeys.ts'
import { completeSignIn, signInByPasskey } from './second-step.ts'
import { stepUp } from './step-up.ts'

const tag = 'Auth'

const appCode = typedCode(/^\d{6}$/, 'must be the 6 digits that the app shows')
const code = typedCode(
  /^(\d{6}|[a-z2-7]{10})$/i,
  'must be the 6 digits that the app shows, or a recovery code',
)

const RecoveryCodes = z
  .array(z.string())
  .describe('Each signs in once, in the place of a lost factor. They are shown this once: keep them safe.')

const base64url = (max: number) =>
  z
    .string()
    .regex(/^[\w-]+$/, 'must be base64url')
    .max(max)

/** How a browser reaches an authenticator, such as `smart-card`: there may come more. */
const transport = z
  .string()
  .regex(/^[a-z-]+$/, 'must be lower-case letters and hyphens')
  .max(20)

/** As browsers make JSON of a credential; what else they put in is not read. */
const Attestation = z
  .object({
    id: base64url(1400),
    type: z.literal('public-key'),
    response: z.object({
      clientDataJSON: base64url(4000),
      attestationObject: base64url(20_000),
      transports: z.array(transport).max(10).optional(),
    }),
  })
  .openapi('RegistrationResponseJSON')

const Assertion = z
  .object({
    id: base64url(1400),
    type: z.literal('public-key'),
    response: z.object({
      clientDataJSON: base64url(4000),
      authenticatorData: base64url(4000),
      signature: base64url(4000),
      userHandle: z
        .string()
        .regex(/^[\w-]*$/, 'must be base64url')
        .max(100)
        .nullish(),
    }),
  })
  .openapi('AuthenticationResponseJSON')

const lastFactor =
  'Recovery codes go with the last factor. Without one, workspaces that demand it (`secondFactorRequired`), also those that the caller owns, answer 403 `second_factor_required` until another is set up, which needs no more than for the first one.'

/** In examples, shortened. */
const signed: z.input<typeof Assertion> = {
  id: 'AbVhw3Vb0kK0n3o3a0b1Lg',
  type: 'public-key',
  response: {
    clientDataJSON: 'eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0',
    authenticatorData: 'SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAQ',
    signature: 'MEUCIQDl',
  },
}

const Credential = z.object({
  type: z.literal('public-key'),
  id: z.string(),
  transports: z.array(z.string()).optional(),
})

const CreationOptions = z
  .object({
    rp: z.object({ id: z.string(), name: z.string() }),
    user: z.object({ id: z.string(), name: z.string(), displayName: z.string() }),
    challenge: z.string(),
    pubKeyCredParams: z.array(z.object({ type: z.literal('public-key'), alg: z.int() })),
    timeout: z.int(),
    excludeCredentials: z.array(Credential),
    authenticatorSelection: z.object({
      residentKey: z.literal('required'),
      requireResidentKey: z.literal(true),
      userVerification: z.literal('required'),
    }),
    attestation: z.literal('none'),
  })
  .openapi('PublicKeyCredentialCreationOptionsJSON')

const RequestOptions = z
  .object({
    challenge: z.string(),
    rpId: z.string(),
    allowCredentials: z.array(Credential),
    userVerification: z.literal('required'),
    timeout: z.int(),
  })
  .openapi('PublicKeyCredentialRequestOptionsJSON')

const PasskeyView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    backedUp: z.boolean().describe('Kept beyond its device, such as in a password manager'),
    lastUsedAt: Timestamp.nullable(),
    createdAt: Timestamp,
  })
  .openapi('Passkey')

const presentPasskey = (row: Passkey): z.output<typeof PasskeyView> => ({
  id: row.id,
  name: row.name,
  backedUp: row.backedUp,
  lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
  createdAt: row.createdAt.toISOString(),
})

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
    stepUp: true,
    limits: ['factor'],
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
    const created = await createTotp(c.get('ctx'))
    c.header('cache-control', 'no-store')
    c.header('location', '/api/v1/auth/mfa')
    return c.json(created, 201)
  },
)

routes.openapi(
  operation('totp.confirm', {
    method: 'post',
    path: '/auth/mfa/totp/confirm',
    tag,
    summary: 'Turn the second factor on, by a code of the app',
    description:
      'From then on signing in by password asks for a code as well. Recovery codes from before work no more, and with the first factor your other sessions end. Confirmed again, it is refused with 409; if the answer was lost, `POST /auth/mfa/recovery-codes` makes new codes.',
    scope: 'user',
    limits: ['second-factor', 'second-factor-day', 'second-factor-person'],
    request: jsonBody(z.strictObject({ code: appCode }), { code: '123456' }),
    responses: {
      200: json(z.object({ recoveryCodes: RecoveryCodes, device_token: DeviceToken }), 'Turned on'),
    },
    refuses: ['invalid_code', 'already_enrolled', 'not_found'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await confirmTotp(c.get('ctx'), c.req.valid('json').code), 200)
  },
)

routes.openapi(
  operation('recovery_code.create', {
    method: 'post',
    path: '/auth/mfa/recovery-codes',
    tag,
    summary: 'New recovery codes',
    description: 'Those from before work no more, and a mail says so.',
    scope: 'user',
    stepUp: true,
    limits: ['factor'],
    responses: {
      201: { ...json(z.object({ recoveryCodes: RecoveryCodes }), 'The codes'), headers: located },
    },
    refuses: ['second_factor_required'],
  }),
  async (c) => {
    const recoveryCodes = await createCodes(c.get('ctx'))
    c.header('cache-control', 'no-store')
    c.header('location', '/api/v1/auth/mfa')
    return c.json({ recoveryCodes }, 201)
  },
)

routes.openapi(
  operation('totp.delete', {
    method: 'delete',
    path: '/auth/mfa',
    tag,
    summary: 'Ask for codes of the app no more',
    description: lastFactor,
    scope: 'user',
    stepUp: true,
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
      'The `mfa_token` of `POST /auth/login` with a code of the app, which works once, a recovery code, or what a passkey has signed for `POST /auth/login/passkey/options`. The token is good for five minutes, for one sign-in, and until the password changes.',
    scope: 'public',
    limits: ['second-factor-ip', 'second-factor', 'second-factor-day', 'second-factor-person'],
    request: jsonBody(
      z
        .strictObject({
          mfa_token: z.string().max(1000),
          code: code.optional(),
          passkey: Assertion.optional(),
        })
        .refine(({ code, passkey }) => (code === undefined) !== (passkey === undefined), {
          message: 'must have either code or passkey',
        }),
      { mfa_token: 'the one of the first step', code: '123456' },
    ),
    responses: { 200: json(SignedInView, 'The tokens') },
    refuses: ['unauthorized', 'invalid_code', 'invalid_passkey', 'token_used'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await completeSignIn(c.get('ctx'), c.req.valid('json')), 200)
  },
)

routes.openapi(
  operation('passkey.prepare', {
    method: 'post',
    path: '/auth/passkeys/options',
    tag,
    summary: 'What a browser needs to make a passkey',
    description:
      'For `navigator.credentials.create`, as `PublicKeyCredential.parseCreationOptionsFromJSON` takes it; good for five minutes.',
    scope: 'user',
    stepUp: true,
    responses: { 200: json(CreationOptions, 'The options') },
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await makeCreationOptions(c.get('ctx')), 200)
  },
)

routes.openapi(
  operation('passkey.create', {
    method: 'post',
    path: '/auth/passkeys',
    tag,
    summary: 'Keep a passkey that a browser has made',
    description:
      'From then on it signs in alone, and signing in by password asks for a second factor as well. `passkey` is the credential as its `toJSON()` gives it. With the first factor come recovery codes, and your other sessions end.',
    scope: 'user',
    stepUp: true,
    limits: ['factor'],
    request: jsonBody(z.strictObject({ name: nameText({ max: 100 }).optional(), passkey: Attestation }), {
      name: 'Laptop',
      passkey: {
        ...signed,
        response: { clientDataJSON: signed.response.clientDataJSON, attestationObject: 'o2NmbXRkbm9uZQ' },
      },
    }),
    responses: {
      201: {
        ...json(
          z.object({
            ...PasskeyView.shape,
            recoveryCodes: RecoveryCodes.optional(),
            device_token: DeviceToken,
          }),
          'The passkey',
        ),
        headers: located,
      },
    },
    refuses: ['invalid_passkey', 'token_used', 'already_enrolled', 'passkey_limit_reached'],
  }),
  async (c) => {
    const { recoveryCodes, deviceToken, ...passkey } = await createPasskey(c.get('ctx'), c.req.valid('json'))
    c.header('cache-control', 'no-store')
    c.header('location', '/api/v1/auth/passkeys')
    return c.json(
      { ...presentPasskey(passkey), ...(recoveryCodes && { recoveryCodes }), device_token: deviceToken },
      201,
    )
  },
)

routes.openapi(
  operation('passkey.list', {
    method: 'get',
    path: '/auth/passkeys',
    tag,
    summary: "The caller's passkeys, newest first",
    scope: 'user',
    request: { query: Paging },
    responses: { 200: json(listOf(PasskeyView), 'A page of passkeys') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listPasskeys(c.get('ctx'), query), query.limit, presentPasskey), 200)
  },
)

routes.openapi(
  operation('passkey.delete', {
    method: 'delete',
    path: '/auth/passkeys/{id}',
    tag,
    summary: 'Accept a passkey no more',
    description: lastFactor,
    scope: 'user',
    stepUp: true,
    request: { params: IdPath },
    responses: { 204: { description: 'Deleted' } },
    refuses: ['not_found'],
  }),
  async (c) => {
    await deletePasskey(c.get('ctx'), c.req.valid('param').id)
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('session.prepare', {
    method: 'post',
    path: '/auth/login/passkey/options',
    tag,
    summary: 'What a browser needs to have a passkey sign',
    description:
      'For `navigator.credentials.get`, as `PublicKeyCredential.parseRequestOptionsFromJSON` takes it; good for five minutes and once, whether to sign in, as the second step, or for `POST /auth/step-up`.',
    scope: 'public',
    limits: ['passkey-ip'],
    responses: { 200: json(RequestOptions, 'The options') },
  }),
  (c) => {
    c.header('cache-control', 'no-store')
    return c.json(makeRequestOptions(c.get('ctx')), 200)
  },
)

routes.openapi(
  operation('session.assert', {
    method: 'post',
    path: '/auth/login/passkey',
    tag,
    summary: 'Sign in by a passkey alone',
    scope: 'public',
    limits: ['passkey-ip'],
    request: jsonBody(z.strictObject({ passkey: Assertion }), { passkey: signed }),
    responses: { 200: json(SignedInView, 'The tokens') },
    refuses: ['unauthorized', 'invalid_passkey', 'token_used'],
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json(await signInByPasskey(c.get('ctx'), c.req.valid('json').passkey), 200)
  },
)

routes.openapi(
  operation('session.prove', {
    method: 'post',
    path: '/auth/step-up',
    tag,
    summary: 'Prove oneself once more, before what is dangerous',
    description:
      "By a code of the app, a recovery code, or what a passkey has signed for `POST /auth/login/passkey/options`; without a second factor by the password. Signing in counts as well. A session stays proved for 15 minutes, and by a second factor for workspaces that demand one for as long as it lasts. A front end's session gets a cookie for that, which holds 12 hours, until the password is changed or the oldest factor goes; it is asked for a second factor only, and to set up the first one for a sign-in at the front end in the last 15 minutes.",
    scope: 'user',
    limits: ['password', 'second-factor', 'second-factor-day', 'second-factor-person'],
    request: jsonBody(
      z
        .strictObject({
          password: z.string().max(1024).optional(),
          code: code.optional(),
          passkey: Assertion.optional(),
        })
        .refine((body) => Object.values(body).filter((proof) => proof !== undefined).length === 1, {
          message: 'must have one of password, code and passkey',
        }),
      { password: 'one picture, one store' },
    ),
    responses: { 204: { description: 'Proved' } },
    refuses: [
      'invalid_credentials',
      'invalid_code',
      'invalid_passkey',
      'token_used',
      'second_factor_required',
    ],
  }),
  async (c) => {
    const proof = await stepUp(c.get('ctx'), c.req.valid('json'))
    if (proof) {
      setCookie(c, PROOF_COOKIE, proof, {
        path: '/api/v1',
        httpOnly: true,
        sameSite: 'Lax',
        secure: c.get('env').PUBLIC_URL.startsWith('https:'),
        maxAge: PROOF_LIFETIME,
      })
    }
    return c.body(null, 204)
  },
)
