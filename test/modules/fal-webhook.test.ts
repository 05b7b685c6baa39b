/** fal's webhooks, whose keys change, and whose news may not be taken. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { afterEach, expect, test, vi } from 'vitest'
import type { Env } from '../../src/env.ts'
import { AppError } from '../../src/errors.ts'
import { createRouter } from '../../src/http/router.ts'
import { routes } from '../../src/providers/routes.ts'
import { asJson, startAnswers } from '../support/answers.ts'

afterEach(() => void vi.useRealTimers())

const newKey = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return { jwks: { keys: [publicKey.export({ format: 'jwk' })] }, privateKey }
}

test('a new key of fal counts after ten minutes, and a known one while none can be fetched', async () => {
  const [old, next] = [newKey(), newKey()]
  const answers = { '/keys': asJson({}, 500) }
  const server = await startAnswers(answers)
  const sendBatch = vi.fn(async () => undefined)
  // `as`: what the route reads.
  const env = { FAL_JWKS_URL: `${server.url}/keys`, JOBS: { sendBatch } } as unknown as Env
  const app = createRouter()
  app.use(async (c, next) => {
    c.set('env', env)
    await next()
  })
  app.route('/', routes)
  app.onError((error, c) => c.text('', error instanceof AppError && error.code === 'unavailable' ? 503 : 401))
  const tell = async ({ privateKey }: ReturnType<typeof newKey>) => {
    const body = '{}'
    const parts = ['r', 'u', String(Math.floor(Date.now() / 1000))]
    const text = [...parts, createHash('sha256').update(body).digest('hex')].join('\n')
    const [id, user, time] = parts
    const query = new URLSearchParams(
      ['workspaceId', 'generationId', 'jobId'].map((name) => [name, crypto.randomUUID()]),
    )
    const response = await app.request(`/providers/fal/webhook?${query}`, {
      method: 'POST',
      body,
      headers: {
        'x-fal-webhook-request-id': String(id),
        'x-fal-webhook-user-id': String(user),
        'x-fal-webhook-timestamp': String(time),
        'x-fal-webhook-signature': sign(null, Buffer.from(text), privateKey).toString('hex'),
      },
    })
    return response.status
  }
  // Nothing is forged yet while there is no key: it is to be told again.
  expect(await tell(old)).toBe(503)
  answers['/keys'] = asJson(old.jwks)
  expect(await tell(old)).toBe(204)
  answers['/keys'] = asJson({}, 500)
  vi.useFakeTimers({ now: Date.now() + 11 * 60_000, toFake: ['Date'] })
  expect(await tell(old)).toBe(204)
  answers['/keys'] = asJson(next.jwks)
  expect(await tell(next)).toBe(204)
  expect(await tell(old)).toBe(401)
  expect(sendBatch).toHaveBeenCalledTimes(3)
  // What the queue does not take is to be told again.
  sendBatch.mockRejectedValueOnce(new Error('the queue is away'))
  expect(await tell(next)).toBe(503)
  server.stop()
})
