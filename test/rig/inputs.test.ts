/** Photos prepared by the deployed bundle: by two processes at once, and while Cloudflare Images is away. */
import sharp from 'sharp'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { s3Of } from '../../dev/storage.ts'
import type { createClient } from '../../scripts/client.ts'
import { signUpByMail } from '../../scripts/inbox.ts'
import { waitFor } from '../support/wait-for.ts'

let rig: Rig
let client: ReturnType<typeof createClient>
let photo: Buffer
let headers: Record<string, string>

beforeAll(async () => {
  rig = await startRig({ cron: false })
  const account = { email: 'photos@example.com', password: 'correct horse battery staple' }
  const owner = await signUpByMail(rig.url, rig.mail.url, account)
  client = owner.client
  const { token } = owner
  await client.createWorkspace('Photos')
  headers = { authorization: `Bearer ${token}` }
  photo = await sharp({ create: { width: 3000, height: 2000, channels: 3, background: '#d22' } })
    .withExif({ IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '52/1 31/1 0/1' } })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer()
}, 90_000)

afterEach(async () => {
  rig.links.images.clearFaults()
  rig.links.images.delay(0)
  await rig.links.images.start()
})

afterAll(() => rig?.stop(), 60_000)

const ended = (id: string) =>
  waitFor(
    `generation ${id} ends`,
    async () => {
      const job = await client.getGeneration(id)
      return ['succeeded', 'failed'].includes(job.status) && job
    },
    50_000,
  )

/** The photos that the model server was sent for these words. */
const sentFor = async (prompt: string) => {
  const response = await fetch(`${rig.stack.models.origin}/submissions`)
  // `as`: the model's own names.
  const all = (await response.json()) as { input: { prompt: string; image_input: string[] } }[]
  return all.flatMap(({ input }) => (input.prompt.includes(prompt) ? input.image_input : []))
}

test('a photo arrives upright, scaled, and without its place', async () => {
  const { id } = await client.upload('photo.jpg', photo)
  const prompt = crypto.randomUUID()
  const job = await client.generate({ task: 'scene', prompt, inputAssetIds: [id] })
  expect(await ended(job.id)).toMatchObject({ status: 'succeeded' })
  const [url = ''] = await sentFor(prompt)
  const bytes = Buffer.from(await (await fetch(url)).arrayBuffer())
  expect(await sharp(bytes).metadata()).toMatchObject({ format: 'jpeg', width: 1333, height: 2000 })
  expect(bytes.includes('Exif')).toBe(false)
})

test('two processes prepare one photo at once', async () => {
  rig.links.images.delay(1000)
  const { id } = await client.upload('photo.jpg', photo)
  const prompt = crypto.randomUUID()
  const jobs = await Promise.all(
    [1, 2].map(() => client.generate({ task: 'scene', prompt, inputAssetIds: [id] })),
  )
  for (const job of jobs) expect(await ended(job.id)).toMatchObject({ status: 'succeeded' })
  const paths = (await sentFor(prompt)).map((url) => new URL(url).pathname)
  expect(paths).toHaveLength(2)
  expect(new Set(paths).size).toBe(1)
})

test('Cloudflare Images that is away, or cuts off its answer, costs a job time only', async () => {
  const { id } = await client.upload('photo.jpg', photo)
  await rig.links.images.stop()
  const { fault } = rig.links.images
  const prompt = crypto.randomUUID()
  const job = await client.generate({ task: 'scene', prompt, inputAssetIds: [id] })
  await waitFor('a step has failed', async () =>
    rig.broker.messages.some(
      ({ body, deliveries }) =>
        (body as { subjectId?: string }).subjectId === job.id && deliveries[0]?.endedAt !== undefined,
    ),
  )
  expect((await client.getGeneration(job.id)).status).toBe('running')
  await rig.links.images.start()
  const cut = fault({ kind: 'reset', of: 'answer', after: 300, times: 1 })
  expect(await ended(job.id)).toMatchObject({ status: 'succeeded' })
  expect(cut.hits).toBe(1)
})

/** The keys of copies, as storage itself lists them. */
const copies = async () => {
  const { S3_ENDPOINT } = rig.stack.settings
  const s3 = s3Of(rig.stack.settings)
  const list = await (await s3.fetch(`${S3_ENDPOINT}?list-type=2`)).text()
  return [...list.matchAll(/<Key>([^<]+)/g)].flatMap(([, key]) => (key?.includes('/inputs/') ? [key] : []))
}

test('a photo that is deleted while it is prepared leaves no copy', async () => {
  const { id } = await client.upload('photo.jpg', photo)
  const before = await copies()
  rig.links.images.delay(3000)
  const job = await client.generate({ task: 'scene', prompt: 'x', inputAssetIds: [id] })
  await waitFor('it has started', async () => (await client.getGeneration(job.id)).startedAt !== null)
  const response = await fetch(`${rig.url}/api/v1/assets/${id}`, { method: 'DELETE', headers })
  expect(response.status).toBe(204)
  expect(await ended(job.id)).toMatchObject({ status: 'failed', error: { code: 'input_deleted' } })
  expect(await copies()).toEqual(before)
})

test('a broken photo ends its job, and says so', async () => {
  const { id } = await client.upload('photo.jpg', photo.subarray(0, photo.length / 2))
  const job = await client.generate({ task: 'scene', prompt: 'x', inputAssetIds: [id] })
  expect(await ended(job.id)).toMatchObject({ status: 'failed', error: { code: 'input_rejected' } })
})
