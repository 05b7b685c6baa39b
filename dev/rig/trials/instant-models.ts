/** A Replicate that answers at once, or tells by webhook after some milliseconds, and costs next to nothing: what is left is our own. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { createWebhooks } from '../../../models/protocols/webhooks.ts'

/** Without a secret it tells nobody. */
export const startInstantModels = async (webhookSecret = '') => {
  const picture = await sharp({ create: { width: 512, height: 512, channels: 3, background: '#c0ffee' } })
    .png()
    .toBuffer()
  const created = new Map<string, number>()
  let origin = ''
  const predictionOf = (id: string) => {
    const isDone = Date.now() - (created.get(id) ?? 0) >= state.delay
    return JSON.stringify({
      id,
      status: isDone ? 'succeeded' : 'processing',
      output: isDone ? `${origin}/picture.png` : null,
      logs: '',
      error: null,
      urls: { get: `${origin}/predictions/${id}`, cancel: `${origin}/predictions/${id}/cancel` },
    })
  }
  const state = { delay: 0, pending: 0 }
  const webhooks = createWebhooks(webhookSecret)
  const tell = async (id: string, url: string) => {
    state.pending++
    await sleep(state.delay)
    await webhooks.send(url, predictionOf(id), { copies: 1, age: 0 })
    state.pending--
  }
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '', origin)
    const body = Buffer.concat(await Array.fromAsync(request)).toString()
    if (pathname === '/picture.png') {
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': picture.length }).end(picture)
      return
    }
    const isNew = request.method === 'POST' && pathname.endsWith('/predictions')
    const id = isNew ? crypto.randomUUID() : (pathname.split('/')[2] ?? '')
    if (isNew) created.set(id, Date.now())
    const { webhook } = isNew ? (JSON.parse(body) as { webhook?: string }) : {}
    if (webhook && webhookSecret && state.delay > 0) void tell(id, webhook)
    response.writeHead(isNew ? 201 : 200, { 'content-type': 'application/json' }).end(predictionOf(id))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { origin, state, submissions: () => created.size, stop: () => server.close() }
}
