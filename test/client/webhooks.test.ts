/** Webhooks that the client package believes, and those that it does not. */
import { Webhook } from 'standardwebhooks'
import { expect, test, vi } from 'vitest'
import { type VerifyOptions, verifyWebhook } from '../../client/src/index.ts'

const secretOf = (text: string) => `whsec_${Buffer.from(text).toString('base64')}`
const SECRET = secretOf('a secret of one endpoint')
const message = {
  type: 'generation.succeeded',
  timestamp: '2026-01-31T12:00:09.000Z',
  data: {
    generationId: crypto.randomUUID(),
    status: 'succeeded',
    progress: 100,
    at: '2026-01-31T12:00:09.000Z',
  },
}
const BODY = JSON.stringify(message)

const sent = (changes: { body?: string; at?: Date; secret?: string } = {}): VerifyOptions => {
  const { body = BODY, at = new Date(), secret = SECRET } = changes
  const id = 'msg_1'
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  }
  return { body, headers, secret: SECRET }
}

test('believes what is signed, as text, as bytes, by Headers, and by one of several secrets and signatures', async () => {
  const expected = { ...message, id: 'msg_1' }
  const given = sent()
  expect(await verifyWebhook(given)).toEqual(expected)
  expect(await verifyWebhook({ ...given, body: new TextEncoder().encode(BODY) })).toEqual(expected)
  expect(await verifyWebhook({ ...given, body: new TextEncoder().encode(BODY).buffer })).toEqual(expected)
  const headers = given.headers as Record<string, string>
  expect(await verifyWebhook({ ...given, headers: new Headers(headers) })).toEqual(expected)
  expect(await verifyWebhook({ ...given, secret: [secretOf('the new one'), SECRET] })).toEqual(expected)
  const signature = `v1,${btoa('x')} v2,abc v1,%%% ${headers['webhook-signature']}`
  expect(await verifyWebhook({ ...given, headers: { ...headers, 'webhook-signature': signature } })).toEqual(
    expected,
  )
  const unicode = JSON.stringify({ ...message, note: 'Größe 京都 🫖' })
  expect(await verifyWebhook(sent({ body: unicode }))).toMatchObject({ note: 'Größe 京都 🫖' })
})

test('does not believe a body that was parsed and serialised again, another secret, or missing headers', async () => {
  const pretty = JSON.stringify(message, null, 1)
  const given = sent({ body: pretty })
  expect(await verifyWebhook(given)).toMatchObject({ type: 'generation.succeeded' })
  const again = verifyWebhook({ ...given, body: JSON.stringify(JSON.parse(pretty)) })
  await expect(again).rejects.toMatchObject({ name: 'WebhookError', reason: 'signature' })
  // A framework's parsed body is a mistake, and said so.
  await expect(verifyWebhook({ ...given, body: message as never })).rejects.toThrow(/request\.text\(\)/)
  await expect(verifyWebhook(sent({ secret: secretOf('of another endpoint') }))).rejects.toMatchObject({
    reason: 'signature',
  })
  await expect(verifyWebhook({ ...sent(), secret: 'whsec_%' })).rejects.toThrow(TypeError)
  await expect(verifyWebhook({ ...sent(), secret: [] })).rejects.toMatchObject({ reason: 'signature' })
  for (const name of ['webhook-id', 'webhook-timestamp', 'webhook-signature']) {
    const headers = { ...(sent().headers as Record<string, string>), [name]: '' }
    await expect(verifyWebhook({ ...sent(), headers })).rejects.toMatchObject({ reason: 'headers' })
  }
  await expect(verifyWebhook(sent({ body: 'no JSON' }))).rejects.toMatchObject({ reason: 'body' })
})

test('a message that is old, ahead, or read by a clock ten minutes off, is refused with the difference', async () => {
  const ago = (seconds: number) => sent({ at: new Date(Date.now() - seconds * 1000) })
  expect(await verifyWebhook(ago(290))).toMatchObject({ id: 'msg_1' })
  expect(await verifyWebhook(ago(-290))).toMatchObject({ id: 'msg_1' })
  for (const seconds of [320, -320]) {
    await expect(verifyWebhook(ago(seconds))).rejects.toMatchObject({ reason: 'timestamp' })
  }
  const given = sent()
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 600_000 })
  try {
    await expect(verifyWebhook(given)).rejects.toThrow(/60[01] s/)
    expect(await verifyWebhook({ ...given, tolerance: 900 })).toMatchObject({ id: 'msg_1' })
  } finally {
    vi.useRealTimers()
  }
})
