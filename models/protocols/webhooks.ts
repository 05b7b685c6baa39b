/** Sends webhooks, with a few retries, signed as each provider does it. */
import { createHash, createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

const retryDelays = [500, 2_000, 5_000]
const timeoutMs = 10_000

/** The headers of one attempt; the time, in seconds since 1970, is that of the attempt. */
type Signer = (body: string, timestamp: string) => Record<string, string>

/** How a message leaves: so many times at once, signed as if it were so many seconds ago. */
export interface Sending {
  copies: number
  age: number
}

export interface Webhooks {
  /** By the Standard Webhooks specification. Never rejects. */
  send(url: string, body: string, sending: Sending): Promise<void>
  /** As fal signs. Never rejects either. */
  sendAsFal(url: string, requestId: string, body: string, sending: Sending): Promise<void>
  /** The public key of `sendAsFal` (RFC 7517). */
  jwks: { keys: object[] }
  stop(): void
}

/** `secret` is `whsec_` and the key in base64. */
export function createWebhooks(secret: string): Webhooks {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const userId = `user_${randomUUID()}`
  const stopped = new AbortController()

  const post = async (url: string, body: string, age: number, signer: Signer): Promise<boolean> => {
    const timestamp = String(Math.floor(Date.now() / 1000) - age)
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...signer(body, timestamp) },
      body,
      redirect: 'manual',
      signal: AbortSignal.any([stopped.signal, AbortSignal.timeout(timeoutMs)]),
    })
    await response.body?.cancel()
    return response.ok
  }

  const deliver = async (url: string, body: string, age: number, signer: Signer): Promise<void> => {
    for (const delay of [0, ...retryDelays]) {
      try {
        await sleep(delay, undefined, { signal: stopped.signal, ref: false })
        if (await post(url, body, age, signer)) return
      } catch {
        if (stopped.signal.aborted) return
      }
    }
  }

  const deliverCopies = async (
    url: string,
    body: string,
    { copies, age }: Sending,
    signer: Signer,
  ): Promise<void> => {
    await Promise.all(Array.from({ length: copies }, () => deliver(url, body, age, signer)))
  }

  return {
    send(url, body, sending) {
      const id = `msg_${randomUUID().replaceAll('-', '')}`
      return deliverCopies(url, body, sending, (content, timestamp) => ({
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${content}`).digest('base64')}`,
      }))
    },
    sendAsFal(url, requestId, body, sending) {
      return deliverCopies(url, body, sending, (content, timestamp) => {
        const digest = createHash('sha256').update(content).digest('hex')
        const message = [requestId, userId, timestamp, digest].join('\n')
        return {
          'x-fal-webhook-request-id': requestId,
          'x-fal-webhook-user-id': userId,
          'x-fal-webhook-timestamp': timestamp,
          'x-fal-webhook-signature': sign(null, Buffer.from(message), privateKey).toString('hex'),
        }
      })
    },
    jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'local', use: 'sig', alg: 'EdDSA' }] },
    stop() {
      stopped.abort()
    },
  }
}
