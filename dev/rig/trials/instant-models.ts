/** A Replicate that answers at once, or tells by webhook after some milliseconds, and costs next to nothing: what is left is our own. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import { createWebhooks } from '../../../models/protocols/webhooks.ts'

/** The bytes of a chunk's length, type and check, of an end that has no content. */
const END = 12

/** The same picture with a comment, so that it is another file: of the same bytes a workspace stores one object. */
const withComment = (png: Buffer, comment: string) => {
  const content = Buffer.from(`tEXtComment\0${comment}`, 'latin1')
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length - 4)
  check.writeUInt32BE(crc32(content))
  return Buffer.concat([png.subarray(0, -END), length, content, check, png.subarray(-END)])
}

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
      output: isDone ? `${origin}/pictures/${id}` : null,
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
    if (pathname.startsWith('/pictures/')) {
      const own = withComment(picture, pathname)
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': own.length }).end(own)
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
