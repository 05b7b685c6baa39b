/** An authenticator in software (WebAuthn, level 3): makes passkeys, and signs with them, as faulty as a test wants. */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { expect } from 'vitest'
import { type Client, createClient } from './client.ts'

/** Where `npm run dev` and the rig have their front end. */
export const ORIGIN = 'http://localhost:3000'
const RELYING_PARTY = 'localhost'

const sha256 = (data: Buffer | string) => createHash('sha256').update(data).digest()

type Cbor = number | string | Buffer | Map<number | string, Cbor>

/** RFC 8949, as far as credentials need it. */
const cbor = (value: Cbor): Buffer => {
  const head = (major: number, count: number) => {
    if (count < 24) return Buffer.from([(major << 5) | count])
    if (count < 256) return Buffer.from([(major << 5) | 24, count])
    return Buffer.from([(major << 5) | 25, count >> 8, count & 255])
  }
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value)
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value])
  return Buffer.concat([head(5, value.size), ...[...value].flat().map(cbor)])
}

/** What is not as it should be. */
export interface Faults {
  origin?: string
  relyingParty?: string
  challenge?: string
  /** The user was there, but not verified by PIN or finger. */
  unverified?: boolean
  type?: string
  counter?: number
  userHandle?: string
  /** Flips a bit of the signature. */
  broken?: boolean
  /** Added to the attestation's statement: certificates that nobody asked for. */
  certificates?: Buffer
}

const clientDataOf = (type: string, challenge: string, { origin = ORIGIN, ...faults }: Faults) =>
  Buffer.from(
    JSON.stringify({
      type: faults.type ?? type,
      challenge: faults.challenge ?? challenge,
      origin,
      crossOrigin: false,
    }),
  )

const authenticatorDataOf = (flags: number, counter: number, faults: Faults, attested = Buffer.alloc(0)) => {
  const head = Buffer.alloc(5)
  head.writeUInt8(faults.unverified ? flags & ~4 : flags)
  head.writeUInt32BE(faults.counter ?? counter, 1)
  return Buffer.concat([sha256(faults.relyingParty ?? RELYING_PARTY), head, attested])
}

export interface CreationOptions {
  challenge: string
  user: { id: string; name: string }
  rp: { id: string }
  excludeCredentials: { id: string }[]
}

/** `counts: false`: like passkeys that are kept in several places, whose counter stays 0. */
export const newAuthenticator = ({ counts = true } = {}) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const id = randomBytes(32)
  let counter = 0
  let userHandle = ''
  const next = () => (counts ? ++counter : 0)
  return {
    id: id.toString('base64url'),
    create: (options: CreationOptions, faults: Faults = {}) => {
      userHandle = options.user.id
      const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
      const point = (text: string) => Buffer.from(text, 'base64url')
      const key = cbor(
        new Map<number, Cbor>([
          [1, 2],
          [3, -7],
          [-1, 1],
          [-2, point(x)],
          [-3, point(y)],
        ]),
      )
      const length = Buffer.from([0, id.length])
      const attested = Buffer.concat([Buffer.alloc(16), length, id, key])
      // User present and verified, with credential data.
      const authData = authenticatorDataOf(0x45, next(), faults, attested)
      const { certificates } = faults
      const statement = new Map<string, Cbor>(certificates ? [['x5c', certificates]] : [])
      const attestationObject = cbor(
        new Map<string, Cbor>([
          ['fmt', certificates ? 'packed' : 'none'],
          ['attStmt', statement],
          ['authData', authData],
        ]),
      )
      return {
        id: id.toString('base64url'),
        rawId: id.toString('base64url'),
        type: 'public-key',
        clientExtensionResults: {},
        response: {
          clientDataJSON: clientDataOf('webauthn.create', options.challenge, faults).toString('base64url'),
          attestationObject: attestationObject.toString('base64url'),
          transports: ['internal'],
        },
      }
    },
    get: (options: { challenge: string }, faults: Faults = {}) => {
      const clientData = clientDataOf('webauthn.get', options.challenge, faults)
      const authenticatorData = authenticatorDataOf(0x05, next(), faults)
      const signature = sign('sha256', Buffer.concat([authenticatorData, sha256(clientData)]), privateKey)
      if (faults.broken) signature[20] = (signature[20] as number) ^ 1
      return {
        id: id.toString('base64url'),
        rawId: id.toString('base64url'),
        type: 'public-key',
        clientExtensionResults: {},
        authenticatorAttachment: 'platform',
        response: {
          clientDataJSON: clientData.toString('base64url'),
          authenticatorData: authenticatorData.toString('base64url'),
          signature: signature.toString('base64url'),
          userHandle: faults.userHandle ?? userHandle,
        },
      }
    },
  }
}
export const creationOptionsOf = async (client: Client) =>
  (await client.post<CreationOptions>('/auth/passkeys/options')).body

export const requestOptions = async () =>
  (await createClient().post<{ challenge: string }>('/auth/login/passkey/options')).body

/** Somebody has a passkey. */
export const addPasskey = async (client: Client, authenticator = newAuthenticator()) => {
  const passkey = authenticator.create(await creationOptionsOf(client))
  const answer = await client.post<{ id: string; recoveryCodes?: string[]; device_token: string }>(
    '/auth/passkeys',
    { passkey },
  )
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return { ...answer.body, authenticator }
}

export const signInBy = (passkey: unknown) =>
  createClient().post<{ access_token: string; code?: string; detail?: string }>('/auth/login/passkey', {
    passkey,
  })
