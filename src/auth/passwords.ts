/** Password hashing: scrypt (RFC 7914) in PHC string form. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { AppError } from '../errors.ts'

const PARAMETERS = { N: 2 ** 14, r: 8, p: 5 }
const KEY_LENGTH = 32
const SALT_LENGTH = 16

/** Frequent in lists of leaked passwords, and of the ten characters at least that a password has here. */
const commonPasswords = new Set(
  `1234567890 12345678910 0123456789 0987654321 9876543210 1111111111 0000000000 1234512345 1q2w3e4r5t qwertyuiop
   1qaz2wsx3edc qwerty12345 qwerty123456 q1w2e3r4t5y6 password12 password123 password1234 password12345 password123456
   passw0rd123 p@ssw0rd123 administrator admin12345 letmein123 letmein1234 iloveyou123 iloveyou12 welcome123 welcome1234
   abcdefghij abcdefghijkl abc1234567 abcd123456 asdfghjkl1 asdfghjkl; zxcvbnm123 changeme123 sunshine123 football123
   baseball123 princess123 superman123 starwars123 unknownpassword passwordpassword trustno1trustno1 mypassword123
   qwertyqwerty 1q2w3e4r5t6y 123qweasdzxc qweasdzxc123 123123123123 1212121212 2222222222 5555555555 7777777777
   9999999999 1231231231 11223344556 1122334455 aaaaaaaaaa asdfasdfasdf michelle123 computer123 internet123 samsung123
   football12 liverpool123 chocolate123 jennifer123 whatever123 trustno1234 dragon12345 monkey12345 master12345`.split(
    /\s+/,
  ),
)

export const isCommonPassword = (password: string) => commonPasswords.has(password.toLowerCase())

/** Milliseconds of the isolate's only thread that one hash takes. */
const SLOT = 150
/** Milliseconds after each hash that belong to other requests, however long it took. */
const GAP = 50
/** Milliseconds by which each in line gives way to the one before, who may be gone. */
const STEP = 20
/** Milliseconds after which each in line looks again at the latest, and three times which nobody is taken for present. */
const LOOK = 1000
const MAX_WAITING = 100

/** Who waits for a hash, in order, with the time of the last look. Nobody awaits another request's promise: that would
 * never settle once its client has left. */
const line = new Map<symbol, number>()
/** When the last hash began and ended. The clock stands still while it runs: whoever looks next sees its end. */
let began = 0
let ended: number | undefined = 0

const forgetTheGone = () => {
  const now = Date.now()
  for (const [who, looked] of line) if (looked < now - 3 * LOOK) line.delete(who)
}

/** Waits until it is this hash's turn. @throws {AppError} unavailable, when too many wait */
const takeTurn = async (): Promise<void> => {
  const me = Symbol()
  forgetTheGone()
  if (line.size >= MAX_WAITING) throw new AppError('unavailable', { headers: { 'retry-after': '5' } })
  for (;;) {
    const now = Date.now()
    line.set(me, now)
    forgetTheGone()
    const before = [...line.keys()].indexOf(me)
    ended ??= Math.min(now, began + LOOK)
    const due = Math.max(began + SLOT, ended + GAP) + before * STEP
    if (due <= now) {
      line.delete(me)
      began = now
      ended = undefined
      return
    }
    await scheduler.wait(Math.min(due - now, LOOK))
  }
}

const derive = async (password: string, salt: Buffer, parameters: { N: number; r: number; p: number }) => {
  await takeTurn()
  return new Promise<Buffer>((resolve, reject) =>
    scrypt(
      password.normalize('NFKC'),
      salt,
      KEY_LENGTH,
      { ...parameters, maxmem: 256 * parameters.N * parameters.r },
      (error, key) => (error ? reject(error) : resolve(key)),
    ),
  )
}

const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')

/** @throws {AppError} unavailable */
export const hashPassword = async (password: string): Promise<string> => {
  const salt = randomBytes(SALT_LENGTH)
  const key = await derive(password, salt, PARAMETERS)
  const { N, r, p } = PARAMETERS
  return `$scrypt$ln=${Math.log2(N)},r=${r},p=${p}$${base64(salt)}$${base64(key)}`
}

/** What the password is compared with where there is none, so that both cases take the same time. */
const DUMMY_HASH = `$scrypt$ln=14,r=8,p=5$${base64(Buffer.alloc(SALT_LENGTH))}$${base64(Buffer.alloc(KEY_LENGTH))}`

/** False for a wrong password and, after the same work, for no account or one without a password. */
export const verifyPassword = async (
  password: string,
  stored: string | null | undefined,
): Promise<boolean> => {
  const [, , parameters = '', salt = '', key = ''] = (stored ?? DUMMY_HASH).split('$')
  const [ln = 14, r = 8, p = 5] = parameters.split(',').map((part) => Number(part.split('=')[1]))
  const expected = Buffer.from(key, 'base64')
  const actual = await derive(password, Buffer.from(salt, 'base64'), { N: 2 ** ln, r, p })
  return timingSafeEqual(actual, expected) && Boolean(stored)
}
