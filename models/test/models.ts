/** A model server of a test file's own, with clients, photo and fault switch. */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import Replicate, { type Prediction } from 'replicate'
import sharp from 'sharp'
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from 'vitest'
import { makeSamplePhoto } from '../photo.ts'
import type { Scale } from '../protocols/context.ts'
import { type ModelServer, startModels } from '../server.ts'

export const token = 'r8_local_test'
export const webhookSecret = `whsec_${Buffer.from('a secret of the model server test').toString('base64')}`
/** Takes no photo and gives a list. */
export const model = 'black-forest-labs/flux-schnell'
/** Not official: it tells its progress. */
export const remover = '851-labs/background-remover'
/** Takes any ratio, a seed and a second's length. */
export const filmModel = 'bytedance/seedance-2.0'
export const noSubmissions = { replicate: 0, fal: 0, openai: 0, gemini: 0, cloudflare: 0 }

/** Starts and stops it with the test file and takes back its faults after each test. */
export function useModels(scale: Partial<Scale> = {}) {
  let server: ModelServer
  let client: Replicate
  let photo: Buffer
  let smallPhoto: Buffer

  beforeAll(async () => {
    server = await startModels({ token, webhookSecret, scale: { film: 0.25, picture: 0.25, ...scale } })
    client = new Replicate({ auth: token, baseUrl: server.url })
    photo = await makeSamplePhoto()
    smallPhoto = await sharp(photo).resize(400).jpeg().toBuffer()
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
    /** 400 pixels a side, for models that need no more. */
    get smallPhoto() {
      return smallPhoto
    },
    get smallPhotoUrl() {
      return `data:image/jpeg;base64,${smallPhoto.toString('base64')}`
    },
    /** A prediction of a real model, made while the caller waits. */
    run: (version: string, input: object) => client.predictions.create({ version, input, wait: true }),
    generate: (input: object) => client.predictions.create({ version: model, input, wait: true }),
    film: (input: object) =>
      client.predictions.create({
        version: filmModel,
        input: { resolution: '480p', ...input },
        wait: true,
      }),
    poll: async (id: string) => client.wait(await client.predictions.get(id), { interval: 20 }),
    /** Waits for any end, also one that the client takes for an error. */
    async end(id: string): Promise<Prediction> {
      await expect
        .poll(async () => (await client.predictions.get(id)).completed_at, { timeout: 10_000 })
        .toBeTruthy()
      return client.predictions.get(id)
    },
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

/** How much of a picture is the mug's teal, from 0 to 1. */
export async function measureTeal(file: Uint8Array): Promise<number> {
  const data = await sharp(file)
    .resize(64, 64, { fit: 'fill' })
    .flatten({ background: '#fff' })
    .raw()
    .toBuffer()
  let teal = 0
  for (let at = 0; at < data.length; at += 3) {
    const [red = 0, green = 0, blue = 0] = data.subarray(at, at + 3)
    if (green - red > 40 && blue - red > 40) teal++
  }
  return teal / (64 * 64)
}

export async function fetchOutput(url: string): Promise<Buffer> {
  const response = await fetch(url)
  expect(response.status).toBe(200)
  return Buffer.from(await response.arrayBuffer())
}

/** Listens for the test's own requests; `answer` gives the status of each, which all get the same file. */
export async function listen(
  answer: (request: IncomingMessage, body: string) => number,
  file: Uint8Array | string = 'not an image',
): Promise<string> {
  const receiver = createServer(async (request, response) => {
    const body = (await request.toArray()).join('')
    response.writeHead(answer(request, body)).end(file)
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  onTestFinished(() => void receiver.close())
  return `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
}
