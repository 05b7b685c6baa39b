/** The secrets of second factors at rest: those of apps are encrypted, recovery codes are hashed, each with a key of its own. */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import type { Env } from '../../env.ts'
import { AppError } from '../../errors.ts'
import { toBase32 } from './totp.ts'

const NONCE_LENGTH = 12
const TAG_LENGTH = 16

const keyFor = ({ FACTOR_KEY }: Env, purpose: string) =>
  Buffer.from(hkdfSync('sha256', FACTOR_KEY, '', purpose, 32))

/** AES-256-GCM. */
export const encrypt = (env: Env, secret: Uint8Array): string => {
  const nonce = randomBytes(NONCE_LENGTH)
  const cipher = createCipheriv('aes-256-gcm', keyFor(env, 'totp'), nonce)
  return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

/** @throws {AppError} misconfigured, with another FACTOR_KEY than it was encrypted with */
export const decrypt = (env: Env, stored: string): Buffer => {
  const bytes = Buffer.from(stored, 'base64')
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyFor(env, 'totp'), bytes.subarray(0, NONCE_LENGTH))
    decipher.setAuthTag(bytes.subarray(-TAG_LENGTH))
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_LENGTH, -TAG_LENGTH)), decipher.final()])
  } catch (cause) {
    throw new AppError('misconfigured', { cause })
  }
}

/** Codes handed out at a time. */
const RECOVERY_CODES = 10

const RECOVERY_CODE = /^([A-Z2-7]{5})-?([A-Z2-7]{5})$/

/** Fifty random bits, as `ABCDE-23456`. */
export const newRecoveryCodes = (): string[] =>
  Array.from({ length: RECOVERY_CODES }, () => toBase32(randomBytes(7)).slice(0, 10).replace(/^.{5}/, '$&-'))

/** What is stored of somebody's code, in any case, with hyphen or without; undefined of what is none. Another's hash is no use. */
export const hashRecoveryCode = (env: Env, userId: string, code: string): string | undefined => {
  const [, head, tail] = RECOVERY_CODE.exec(code.toUpperCase()) ?? []
  if (!head) return undefined
  return createHmac('sha256', keyFor(env, 'recovery code')).update(`${userId} ${head}${tail}`).digest('hex')
}
