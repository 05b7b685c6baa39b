/** A model server of a test file's own, with clients, photo and fault switch. */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import Replicate from 'replicate'
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from 'vitest'
import { makeSamplePhoto } from '../photo.ts'
import { type ModelServer, startModels } from '../server.ts'

export const token = 'r8_local_test'
export const webhookSecret = `whsec_${Buffer.from('a secret of the model server test').toString('base64')}`
export const model = 'local/studio'
export const videoModel = 'merchant-content/product-motion'

/** Starts and stops it with the test file and takes back its faults after each test. */
export function useModels() {
  let server: ModelServer
  let client: Replicate
  let photo: Buffer

  beforeAll(async () => {
    server = await startModels({ token, webhookSecret })
    client = new Replicate({ auth: token, baseUrl: server.url })
    photo = await makeSamplePhoto()
  })
  afterEach(() => fetch(`${server.origin}/faults`, { method: 'DELETE' }))
  afterAll(() => server.stop())

  return {
    get server() {
      return server
    },
    get client() {
      return client
    },
    get photo() {
      return photo
    },
    get photoUrl() {
      return `data:image/jpeg;base64,${photo.toString('base64')}`
    },
    generate: (input: object) => client.predictions.create({ model, input, wait: true }),
    film: (input: object) => client.predictions.create({ model: videoModel, input, wait: true }),
    poll: async (id: string) => client.wait(await client.predictions.get(id), { interval: 20 }),
    async fault(body: object): Promise<void> {
      const response = await fetch(`${server.origin}/faults`, { method: 'POST', body: JSON.stringify(body) })
      expect(response.status).toBe(204)
    },
    /** Creates a prediction without the client and its retries. */
    post: (path: string, body: BodyInit, headers: Record<string, string> = {}) =>
      fetch(`${server.url}${path}`, {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      }),
  }
}

export async function fetchOutput(url: string): Promise<Buffer> {
  const response = await fetch(url)
  expect(response.status).toBe(200)
  return Buffer.from(await response.arrayBuffer())
}

/** Listens for the test's own requests; `answer` gives the status of each. */
export async function listen(answer: (request: IncomingMessage, body: string) => number): Promise<string> {
  const receiver = createServer(async (request, response) => {
    const body = (await request.toArray()).join('')
    response.writeHead(answer(request, body)).end('not an image')
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  onTestFinished(() => void receiver.close())
  return `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
}
