/**
 * The secrets of second factors at rest: those of apps are encrypted, recovery codes are hashed, each with a key of its own, and
 * each for one person. What is stored begins with the `kid` of the key of FACTOR_KEYS that its own is derived from.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import type { Env } from '../../env.ts'
import { AppError } from '../../errors.ts'
import { toBase32 } from './totp.ts'

const NONCE_LENGTH = 12
const TAG_LENGTH = 16

type Key = Env['FACTOR_KEYS'][number]

const keyFor = ({ k }: Key, purpose: string) =>
  Buffer.from(hkdfSync('sha256', Buffer.from(k, 'base64url'), '', purpose, 32))

/** AES-256-GCM; of another person it is none. */
export const encrypt = ({ FACTOR_KEYS: [key] }: Env, userId: string, secret: Uint8Array): string => {
  const nonce = randomBytes(NONCE_LENGTH)
  const cipher = createCipheriv('aes-256-gcm', keyFor(key, 'totp'), nonce).setAAD(Buffer.from(userId))
  const bytes = Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()])
  return `${key.kid}.${bytes.toString('base64')}`
}

/** @throws {AppError} misconfigured, without the key that it was encrypted with */
export const decrypt = ({ FACTOR_KEYS }: Env, userId: string, stored: string): Buffer => {
  const [kid, text = ''] = stored.split('.')
  const key = FACTOR_KEYS.find((one) => one.kid === kid)
  const bytes = Buffer.from(text, 'base64')
  try {
    if (!key) throw new Error(`FACTOR_KEYS has no key ${kid}`)
    const nonce = bytes.subarray(0, NONCE_LENGTH)
    const decipher = createDecipheriv('aes-256-gcm', keyFor(key, 'totp'), nonce)
    decipher.setAAD(Buffer.from(userId)).setAuthTag(bytes.subarray(-TAG_LENGTH))
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_LENGTH, -TAG_LENGTH)), decipher.final()])
  } catch (cause) {
    throw new AppError('misconfigured', { cause })
  }
}

/** Whether it was encrypted with the key in front. */
export const isCurrent = ({ FACTOR_KEYS: [key] }: Env, stored: string): boolean =>
  stored.startsWith(`${key.kid}.`)

/** Codes handed out at a time. */
const RECOVERY_CODES = 10

const RECOVERY_CODE = /^([A-Z2-7]{5})-?([A-Z2-7]{5})$/

/** Fifty random bits, as `ABCDE-23456`. */
export const newRecoveryCodes = (): string[] =>
  Array.from({ length: RECOVERY_CODES }, () => toBase32(randomBytes(7)).slice(0, 10).replace(/^.{5}/, '$&-'))

/**
 * What may be stored of somebody's code, in any case, with hyphen or without, under each key, the first in front; nothing of
 * what is no code. Another's hash is no use.
 */
export const hashesOfRecoveryCode = ({ FACTOR_KEYS }: Env, userId: string, code: string): string[] => {
  const [, head, tail] = RECOVERY_CODE.exec(code.toUpperCase()) ?? []
  if (!head) return []
  const hashBy = (key: Key) =>
    createHmac('sha256', keyFor(key, 'recovery code')).update(`${userId} ${head}${tail}`).digest('hex')
  return FACTOR_KEYS.map((key) => `${key.kid}.${hashBy(key)}`)
}
