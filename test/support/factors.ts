/** Second factors of people in tests: what their authenticator app would show. */
import { createCipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { hotp, stepAt } from '../../src/auth/factors/totp.ts'
import { type Client, createClient } from './client.ts'
import { asOwner } from './database.ts'
import { logIn } from './tenants.ts'
import { secrets } from './tokens.ts'

const fromBase32 = (text: string) => {
  const bits = [...text].map((letter) =>
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'),
  )
  return Buffer.from((bits.join('').match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}

/** The app's code of now, or of some steps later. */
export const codeOf = (secret: string, steps = 0) => hotp(fromBase32(secret), stepAt(Date.now()) + steps)

interface Key {
  kid: string
  k: string
}
/** Of the local stack, the one in front first. */
export const factorKeys: Key[] = JSON.parse(secrets.FACTOR_KEYS ?? '[]')

const derive = ({ k }: Key, purpose: string) =>
  Buffer.from(hkdfSync('sha256', Buffer.from(k, 'base64url'), '', purpose, 32))

/** Somebody's secret as it is stored (src/auth/factors/secrets.ts), by a key of one's choice. */
export const encryptBy = (key: Key, { userId, secret }: { userId: string; secret: string }) => {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', derive(key, 'totp'), nonce).setAAD(Buffer.from(userId))
  const parts = [nonce, cipher.update(fromBase32(secret)), cipher.final(), cipher.getAuthTag()]
  return `${key.kid}.${Buffer.concat(parts).toString('base64')}`
}

/** The same of a recovery code without its hyphen. */
export const hashBy = (key: Key, userId: string, code: string) =>
  `${key.kid}.${createHmac('sha256', derive(key, 'recovery code')).update(`${userId} ${code}`).digest('hex')}`

/** A secret that waits for its first code. */
export const beginTotp = async (client: Client) =>
  (await client.post<{ secret: string; otpauthUrl: string }>('/auth/mfa/totp')).body

/** Somebody's app is set up, with the code of a step ago, so that two more are left. */
export const addTotp = async (client: Client) => {
  const { secret } = await beginTotp(client)
  const confirm = () =>
    client.post<{ recoveryCodes: string[]; device_token: string }>('/auth/mfa/totp/confirm', {
      code: codeOf(secret, -1),
    })
  let answer = await confirm()
  // A step may have ended on the way.
  if (answer.status === 401) answer = await confirm()
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return { secret, recoveryCodes: answer.body.recoveryCodes, deviceToken: answer.body.device_token }
}

/** All codes of now are unused again. */
export const forgetUse = (userId: string) =>
  asOwner('update totp_secrets set last_step = null where user_id = $1', [userId])

/** What the password alone gives. */
export const mfaTokenOf = async (email: string) => {
  const answer = await logIn(email)
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  return (answer.body as unknown as { mfa_token: string }).mfa_token
}

export const confirmLogin = (mfaToken: string, code: string) =>
  createClient().post<{ access_token: string; code?: string }>('/auth/login/mfa', {
    mfa_token: mfaToken,
    code,
  })
