/** Sends webhooks signed by the Standard Webhooks specification, with a few retries. */
import { createHmac, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

const retryDelays = [500, 2_000, 5_000]
const timeoutMs = 10_000

export interface Webhooks {
  /** Never rejects; gives up after the last retry. `copies` of one message leave at once. */
  send(url: string, body: string, copies: number): Promise<void>
  stop(): void
}

/** `secret` is `whsec_` and the key in base64. */
export function createWebhooks(secret: string): Webhooks {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const stopped = new AbortController()

  const post = async (url: string, id: string, body: string): Promise<boolean> => {
    const timestamp = Math.floor(Date.now() / 1000).toString()
    const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${signature}`,
      },
      body,
      redirect: 'manual',
      signal: AbortSignal.any([stopped.signal, AbortSignal.timeout(timeoutMs)]),
    })
    await response.body?.cancel()
    return response.ok
  }

  const deliver = async (url: string, id: string, body: string): Promise<void> => {
    for (const delay of [0, ...retryDelays]) {
      try {
        await sleep(delay, undefined, { signal: stopped.signal, ref: false })
        if (await post(url, id, body)) return
      } catch {
        if (stopped.signal.aborted) return
      }
    }
  }

  return {
    async send(url, body, copies) {
      const id = `msg_${randomUUID().replaceAll('-', '')}`
      await Promise.all(Array.from({ length: copies }, () => deliver(url, id, body)))
    },
    stop() {
      stopped.abort()
    },
  }
}
