/**
 * Hashes passwords by scrypt (RFC 7914), in PHC string form. Each hash takes its thread a tenth of a second, so it is a Durable
 * Object that does it: away from the isolates that answer requests.
 */

import { DurableObject } from 'cloudflare:workers'
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

const PARAMETERS = { N: 2 ** 14, r: 8, p: 5 }
const KEY_LENGTH = 32
const SALT_LENGTH = 16

/** Whoever finds so many in line is refused at once. */
const MAX_WAITING = 25
/** Milliseconds after which whoever waits is refused. */
const PATIENCE = 10_000
/** Milliseconds before each hash in which others that share the thread get their turn. */
const GAP = 10

const derive = (password: string, salt: Buffer, parameters: { N: number; r: number; p: number }) =>
  new Promise<Buffer>((resolve, reject) =>
    scrypt(
      password.normalize('NFKC'),
      salt,
      KEY_LENGTH,
      { ...parameters, maxmem: 256 * parameters.N * parameters.r },
      (error, key) => (error ? reject(error) : resolve(key)),
    ),
  )

const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')

/** What the password is compared with where there is none, so that both cases take the same time. */
const DUMMY_HASH = `$scrypt$ln=14,r=8,p=5$${base64(Buffer.alloc(SALT_LENGTH))}$${base64(Buffer.alloc(KEY_LENGTH))}`

/** Of a hash in PHC form all but the key. */
const startOf = (hash: string) => hash.slice(0, hash.lastIndexOf('$') + 1)

export class Hasher extends DurableObject {
  private waiting = 0
  /** The end of the line. All of it belongs to this object, so that it moves on whoever has left. */
  private last: Promise<unknown> = Promise.resolve()

  /** In PHC form, with a salt of 16 bytes in base64 or a random one; null when the line is too long. */
  hash(password: string, given?: string): Promise<string | null> {
    return this.inTurn(async () => {
      const salt = given === undefined ? randomBytes(SALT_LENGTH) : Buffer.from(given, 'base64')
      const key = await derive(password, salt, PARAMETERS)
      const { N, r, p } = PARAMETERS
      return `$scrypt$ln=${Math.log2(N)},r=${r},p=${p}$${base64(salt)}$${base64(key)}`
    })
  }

  /**
   * Which of the stored is the password's: one hash for all that have the same salt. -1 for a wrong password and, after the same
   * work, where none is stored; null when the line is too long.
   */
  find(password: string, stored: readonly (string | null)[]): Promise<number | null> {
    return this.inTurn(async () => {
      const starts = new Set(stored.flatMap((one) => (one === null ? [] : startOf(one))))
      const keys = new Map<string, Buffer>()
      for (const start of starts.size === 0 ? [startOf(DUMMY_HASH)] : starts) {
        const [, , parameters = '', salt = ''] = start.split('$')
        const [ln = 14, r = 8, p = 5] = parameters.split(',').map((part) => Number(part.split('=')[1]))
        keys.set(start, await derive(password, Buffer.from(salt, 'base64'), { N: 2 ** ln, r, p }))
      }
      return stored.findIndex((one) => {
        const key = one === null ? undefined : keys.get(startOf(one))
        return key && one && timingSafeEqual(key, Buffer.from(one.slice(startOf(one).length), 'base64'))
      })
    })
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T | null> {
    if (this.waiting >= MAX_WAITING) return null
    this.waiting++
    const since = Date.now()
    const turn = this.last.then(async () => {
      await scheduler.wait(GAP)
      return Date.now() - since > PATIENCE ? null : work()
    })
    this.last = turn.catch(() => undefined)
    try {
      return await turn
    } finally {
      this.waiting--
    }
  }
}
