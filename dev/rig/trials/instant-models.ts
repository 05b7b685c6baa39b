/** A Replicate that answers at once, or after some milliseconds, and costs next to nothing: what is left is our own. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'

export const startInstantModels = async (delay = 0) => {
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
  const state = { delay }
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '', origin)
    request.resume()
    if (pathname === '/picture.png') {
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': picture.length }).end(picture)
      return
    }
    const isNew = request.method === 'POST' && pathname.endsWith('/predictions')
    const id = isNew ? crypto.randomUUID() : (pathname.split('/')[2] ?? '')
    if (isNew) created.set(id, Date.now())
    response.writeHead(isNew ? 201 : 200, { 'content-type': 'application/json' }).end(predictionOf(id))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { origin, state, submissions: () => created.size, stop: () => server.close() }
}
