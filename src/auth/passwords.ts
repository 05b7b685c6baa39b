/** Passwords: which are too common, and whom to ask for their hashes. */
import { type Env, objectOf } from '../env.ts'
import { unavailable } from '../errors.ts'
import type { Hasher } from './hasher.ts'
import { macOf } from './macs.ts'

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

/** The address that a password is, if it is one. */
export const toAddress = (password: string): string => password.normalize('NFKC').trim().toLowerCase()

/** Whether it is this one, which everybody tries. */
export const isAddress = (password: string, email: string | null): boolean => toAddress(password) === email

export const OWN_ADDRESS = 'must not be your e-mail address'

/** So many objects hash, each eight or so a second where it has a thread of its own. */
const HASHERS = 8

/** Milliseconds after which whoever waits is refused; those in line at a hasher are gone by then. */
const PATIENCE = 12_000

/** Asks one of them at random, and another if that one is busy or can't be reached. @throws {AppError} unavailable */
const ask = async <T>(
  env: Env,
  work: (hasher: DurableObjectStub<Hasher>) => Promise<T | null>,
): Promise<T> => {
  const first = Math.floor(Math.random() * HASHERS)
  const second = (first + 1 + Math.floor(Math.random() * (HASHERS - 1))) % HASHERS
  const late = scheduler.wait(PATIENCE).then(() => undefined)
  let cause: unknown
  for (const number of [first, second]) {
    try {
      const answer = await Promise.race([work(objectOf(env, env.HASHER, `hasher-${number}`)), late])
      if (answer === undefined) break
      if (answer !== null) return answer
    } catch (error) {
      cause = error
    }
  }
  throw unavailable(cause, 5)
}

/**
 * All who claim an address have the salt that follows from it and the newest key, so that one hash, or one for each key that they were
 * made with, tells whose a password is, and a second click that it is the same.
 * @throws {AppError} unavailable
 */
export const hashPassword = (env: Env, password: string, claimed?: string | null): Promise<string> => {
  const salt = claimed ? macOf(env.ACCESS_TOKEN_KEYS[0], 'password salt', claimed).subarray(0, 16) : undefined
  return ask(env, (hasher) => hasher.hash(password, salt?.toString('base64')))
}

/** Which of these hashes is the password's, or -1; takes the same time for none and for many. @throws {AppError} unavailable */
export const findPassword = (
  env: Env,
  password: string,
  stored: readonly (string | null)[],
): Promise<number> => ask(env, (hasher) => hasher.find(password, stored))

/** False for a wrong password and, after the same work, where there is none. @throws {AppError} unavailable */
export const verifyPassword = async (env: Env, password: string, stored: string | null): Promise<boolean> =>
  (await findPassword(env, password, [stored])) === 0
