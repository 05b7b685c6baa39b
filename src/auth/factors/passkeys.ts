/**
 * Passkeys (WebAuthn): made by browsers for the relying party, checked by @simplewebauthn/server, which only what needs it
 * loads. A challenge is signed and stored when it is used, so that asking for one costs no row.
 */
import { hash, randomBytes } from 'node:crypto'
import { and, desc, eq, lt, or, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { z } from 'zod'
import type { Ctx } from '../../context.ts'
import { type Database, ensure, transact } from '../../db/client.ts'
import { currentUserId, passkeys, users } from '../../db/schema.ts'
import { afterCursor, exists, first, type Page } from '../../db/sql.ts'
import { type Env, relyingPartyOf } from '../../env.ts'
import { AppError } from '../../errors.ts'
import { dispatchIfOwed } from '../../mail/owed.ts'
import { issueDeviceToken } from '../device-tokens.ts'
import { selectDevice } from '../sessions.ts'
import { readSigned, sign } from '../signed.ts'
import {
  endStreamsOf,
  endWithout,
  makeCodes,
  markSession,
  settleFactors,
  spend,
  takeTurn,
  tellOfFactor,
} from './factors.ts'

/** Of one account. */
const MAX_PASSKEYS = 20

/** Seconds from the options to the answer. */
const LIFETIME = 5 * 60

/** COSE: EdDSA, ES256, RS256. */
const ALGORITHMS = [-8, -7, -257]

/** What of WebAuthn's RegistrationResponseJSON is read. */
export interface Attestation {
  id: string
  response: { clientDataJSON: string; attestationObject: string; transports?: string[] | undefined }
}

/** What of WebAuthn's AuthenticationResponseJSON is read. */
export interface Assertion {
  id: string
  response: {
    clientDataJSON: string
    authenticatorData: string
    signature: string
    userHandle?: string | null | undefined
  }
}

const Challenge = z.object({
  /** Whoever is to have a new passkey; null for a proof by one. */
  userId: z.uuid().nullable(),
})

const newChallenge = (env: Env, userId: string | null): string => {
  const nonce = randomBytes(16).toString('base64url')
  return Buffer.from(sign(env, 'challenge', { userId, nonce }, LIFETIME)).toString('base64url')
}

const ClientData = z.object({ challenge: z.string() })

/** @throws {AppError} invalid_passkey */
const readChallenge = (env: Env, clientDataJSON: string) => {
  const data = ClientData.safeParse(parseJson(Buffer.from(clientDataJSON, 'base64url').toString()))
  const challenge = data.data?.challenge ?? ''
  const claims = readSigned(env, 'challenge', Challenge, Buffer.from(challenge, 'base64url').toString())
  if (!claims) {
    throw refusal('The challenge has expired, or is not of this API: ask for new options.')
  }
  const spent = { tokenHash: hash('sha256', challenge), expiresAt: new Date(claims.exp * 1000) }
  return { challenge, userId: claims.userId, spent }
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const refusal = (detail: string, cause?: unknown) => new AppError('invalid_passkey', { detail, cause })

/** What the library throws, by how it begins, and what clients are told. */
const refusals: [RegExp, string][] = [
  [/^Unexpected .* origin|^Detected cross-origin/, 'It was made on a page of another origin.'],
  [/RP ID/, 'It was made for another relying party.'],
  [/^User verification/, 'Its authenticator did not verify who uses it: a PIN or a fingerprint is needed.'],
  [/^User (presence|not present)/, 'Its authenticator did not say that anybody was there.'],
  [/counter value/, 'Its counter went back: the passkey may have been copied. Delete it and make another.'],
  [/type/, 'It was made for something else.'],
]

/** Runs a check of the library's. @throws {AppError} invalid_passkey, whatever it throws */
const check = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : ''
    const [, detail] = refusals.find(([pattern]) => pattern.test(message)) ?? []
    throw refusal(detail ?? 'It is not what an authenticator makes, or was changed on its way.', cause)
  }
}

const toUserHandle = (userId: string): string =>
  Buffer.from(userId.replaceAll('-', ''), 'hex').toString('base64url')

const isOwn = eq(passkeys.userId, currentUserId)

/** PublicKeyCredentialCreationOptionsJSON. */
export const makeCreationOptions = async (ctx: Ctx) => {
  const { gate, own, known } = await transact(ctx, (db) => ({
    own: db.select({ email: users.email, name: users.name }).from(users).where(eq(users.id, currentUserId)),
    known: db
      .select({ id: passkeys.credentialId, transports: passkeys.transports })
      .from(passkeys)
      .where(isOwn),
  }))
  const { email, name } = first(own)
  const account = email ?? name ?? gate.userId
  const { id } = relyingPartyOf(ctx.env)
  return {
    rp: { id, name: id },
    user: { id: toUserHandle(gate.userId), name: account, displayName: name ?? account },
    challenge: newChallenge(ctx.env, gate.userId),
    pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: 'public-key' as const, alg })),
    timeout: LIFETIME * 1000,
    excludeCredentials: known.map((credential) => ({ type: 'public-key' as const, ...credential })),
    authenticatorSelection: {
      residentKey: 'required' as const,
      requireResidentKey: true as const,
      userVerification: 'required' as const,
    },
    attestation: 'none' as const,
  }
}

/** What an attestation says, if it is one for us. @throws {AppError} invalid_passkey */
const verifyAttestation = async (env: Env, { id, response }: Attestation) => {
  const { challenge, userId, spent } = readChallenge(env, response.clientDataJSON)
  const [{ verifyRegistrationResponse }, { decodeAttestationObject, isoBase64URL }] = await Promise.all([
    import('@simplewebauthn/server'),
    import('@simplewebauthn/server/helpers'),
  ])
  const party = relyingPartyOf(env)
  const verified = await check(async () => {
    const statement = decodeAttestationObject(isoBase64URL.toBuffer(response.attestationObject))
    // Nobody asked for certificates, and to check theirs is to fetch what they name.
    if (statement.get('fmt') !== 'none' && statement.get('attStmt').get('x5c'))
      throw new Error('certificates')
    return verifyRegistrationResponse({
      response: {
        id,
        rawId: id,
        type: 'public-key',
        clientExtensionResults: {},
        response: { clientDataJSON: response.clientDataJSON, attestationObject: response.attestationObject },
      },
      expectedChallenge: challenge,
      expectedOrigin: party.origins,
      expectedRPID: party.id,
      requireUserVerification: true,
      supportedAlgorithmIDs: ALGORITHMS,
    })
  })
  const { registrationInfo } = verified
  if (!registrationInfo || registrationInfo.credential.id !== id) {
    throw refusal('Its signature is wrong.')
  }
  return { userId, spent, ...registrationInfo }
}

/** What is shown of a passkey. */
const view = {
  id: passkeys.id,
  name: passkeys.name,
  backedUp: passkeys.backedUp,
  lastUsedAt: passkeys.lastUsedAt,
  createdAt: passkeys.createdAt,
}

export type Passkey = Pick<typeof passkeys.$inferSelect, keyof typeof view>

/**
 * Keeps what a browser has made. With the first factor come recovery codes, which are shown this once.
 * @returns also a token by which the device stays known
 * @throws {AppError} invalid_passkey, token_used, already_enrolled, passkey_limit_reached
 */
export const createPasskey = async (
  ctx: Ctx,
  input: { name?: string | undefined; passkey: Attestation },
): Promise<Passkey & { recoveryCodes: string[] | undefined; deviceToken: string }> => {
  const { credential, credentialBackedUp, userId, spent } = await verifyAttestation(ctx.env, input.passkey)
  const { codes, hashes } = makeCodes(ctx, userId ?? '')
  const publicKey = Buffer.from(credential.publicKey).toString('base64url')
  const mail = uuidv7()
  const seals = [publicKey, ...hashes]
  const { created, insertedCodes, told, device, ...others } = await transact({ ...ctx, seals }, (db) => ({
    turn: takeTurn(db),
    same: ensure(db, sql`${userId}::uuid = ${currentUserId}`, 'invalid_passkey'),
    few: ensure(
      db,
      sql`(select count(*) from ${passkeys} where ${isOwn}) < ${MAX_PASSKEYS}`,
      'passkey_limit_reached',
    ),
    spent: spend(db, spent),
    ...endWithout(db, ctx),
    created: db
      .insert(passkeys)
      .values({
        id: uuidv7(),
        name: input.name ?? 'Passkey',
        credentialId: credential.id,
        publicKey,
        counter: credential.counter,
        transports: input.passkey.response.transports ?? [],
        backedUp: credentialBackedUp,
      })
      .returning(view),
    insertedCodes: db.execute(sql`
      insert into recovery_codes (user_id, code_hash)
      select ${currentUserId}, c.code_hash from jsonb_array_elements_text(${JSON.stringify(hashes)}::jsonb) c (code_hash)
       where not exists (select from recovery_codes where user_id = ${currentUserId})
      returning code_hash`),
    proved: markSession(db, ctx),
    told: tellOfFactor(db, mail),
    device: selectDevice(db),
  }))
  dispatchIfOwed(ctx, told, mail)
  await endStreamsOf(ctx, others)
  const recoveryCodes = insertedCodes.rows.length > 0 ? codes : undefined
  return { ...first(created), recoveryCodes, deviceToken: issueDeviceToken(ctx.env, first(device)) }
}

/** `limit + 1` of the caller's, newest first. */
export const listPasskeys = async (ctx: Ctx, page: Page): Promise<Passkey[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select(view)
      .from(passkeys)
      .where(and(isOwn, afterCursor(passkeys.id, page)))
      .orderBy(desc(passkeys.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** @throws {AppError} not_found */
export const deletePasskey = async (ctx: Ctx, id: string): Promise<void> => {
  const isThis = and(isOwn, eq(passkeys.id, id))
  const mail = uuidv7()
  const { told } = await transact(ctx, (db) => ({
    turn: takeTurn(db),
    found: ensure(db, exists(passkeys, isThis), 'not_found'),
    told: tellOfFactor(db, mail),
    deleted: db.delete(passkeys).where(isThis),
    ...settleFactors(db),
  }))
  dispatchIfOwed(ctx, told, mail)
}

/** PublicKeyCredentialRequestOptionsJSON: for whichever passkey of the relying party its person chooses. */
export const makeRequestOptions = ({ env }: Ctx) => ({
  challenge: newChallenge(env, null),
  rpId: relyingPartyOf(env).id,
  allowCredentials: [],
  userVerification: 'required' as const,
  timeout: LIFETIME * 1000,
})

export type KnownPasskey = Pick<
  typeof passkeys.$inferSelect,
  'id' | 'userId' | 'credentialId' | 'publicKey' | 'counter'
>

/** Statement: the passkey that an assertion names, of this person if one is given. */
export const selectPasskey = (db: Database, credentialId: string, userId?: SQL | string) =>
  db
    .select({
      id: passkeys.id,
      userId: passkeys.userId,
      credentialId: passkeys.credentialId,
      publicKey: passkeys.publicKey,
      counter: passkeys.counter,
    })
    .from(passkeys)
    .where(and(eq(passkeys.credentialId, credentialId), userId ? eq(passkeys.userId, userId) : undefined))

/** @returns statements that use it up @throws {AppError} invalid_passkey */
export const verifyAssertion = async (
  { env }: Ctx,
  { id, response }: Assertion,
  known: KnownPasskey | undefined,
) => {
  if (!known) throw new AppError('invalid_passkey')
  const { challenge, userId, spent } = readChallenge(env, response.clientDataJSON)
  if (userId) throw refusal('Its challenge is for a new passkey.')
  if (response.userHandle && response.userHandle !== toUserHandle(known.userId)) {
    throw refusal('It belongs to another account.')
  }
  const { verifyAuthenticationResponse } = await import('@simplewebauthn/server')
  const party = relyingPartyOf(env)
  const { clientDataJSON, authenticatorData, signature } = response
  const { verified, authenticationInfo } = await check(() =>
    verifyAuthenticationResponse({
      response: {
        id,
        rawId: id,
        type: 'public-key',
        clientExtensionResults: {},
        response: { clientDataJSON, authenticatorData, signature },
      },
      expectedChallenge: challenge,
      expectedOrigin: party.origins,
      expectedRPID: party.id,
      credential: {
        id: known.credentialId,
        publicKey: new Uint8Array(Buffer.from(known.publicKey, 'base64url')),
        counter: known.counter,
      },
      requireUserVerification: true,
    }),
  )
  if (!verified) throw refusal('Its signature is wrong.')
  const { newCounter: counter } = authenticationInfo
  // Another use of it may have been quicker.
  const isNext = and(
    eq(passkeys.id, known.id),
    or(lt(passkeys.counter, counter), and(eq(passkeys.counter, 0), sql`${counter} = 0`)),
  )
  return (db: Database) => ({
    spent: spend(db, spent),
    inOrder: ensure(db, exists(passkeys, isNext, 'for update'), 'invalid_passkey'),
    counted: db.execute(
      sql`update passkeys set counter = ${counter}, last_used_at = now() where id = ${known.id}`,
    ),
  })
}
