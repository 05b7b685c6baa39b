/** Photos on their way to a model: prepared once, upright, in RGB, without metadata; and what can't be prepared. */
import sharp, { type Sharp } from 'sharp'
import { describe, expect, test } from 'vitest'
import { objectsOf } from '../support/assets.ts'
import type { AssetBody, Client } from '../support/client.ts'
import { stack } from '../support/control.ts'
import { asOwner, setPlan } from '../support/database.ts'
import { creditsOf, finished, generate, newPrompt, submissionsOf } from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const RED = { r: 230, g: 20, b: 20 }

/** Red, but for its left half, which is blue, as the file has it. */
const picture = (width = 600, height = 400): Sharp =>
  sharp({ create: { width, height, channels: 3, background: RED } })
    .composite([
      {
        input: {
          create: { width: Math.ceil(width / 2), height, channels: 3, background: { r: 20, g: 20, b: 230 } },
        },
        left: 0,
        top: 0,
      },
    ])
    .removeAlpha()

/** A GIF of two frames, the first one the picture, that calls no colour transparent. */
const film = async () => {
  const frames = [await picture().png().toBuffer(), await picture().negate().png().toBuffer()]
  const bytes = await sharp(frames, { join: { animated: true } })
    .gif()
    .toBuffer()
  const control = Buffer.from([0x21, 0xf9, 0x04])
  for (let at = bytes.indexOf(control); at >= 0; at = bytes.indexOf(control, at + 1)) {
    bytes[at + 3] = (bytes[at + 3] ?? 0) & 0xfe
  }
  return bytes
}

const GPS = { IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '52/1 31/1 0/1', GPSLongitude: '13/1 24/1 0/1' } }

/** Has a scene made of the photo. */
const ask = async (client: Client, bytes: Uint8Array, name = 'photo.jpg') => {
  const { status, body: asset } = await client.upload(name, bytes)
  expect(status, JSON.stringify(asset)).toBe(201)
  const prompt = newPrompt()
  const job = await generate(client, { prompt, inputAssetIds: [asset.id] })
  return { asset, prompt, job }
}

/** What the model was sent, as it fetched it. */
const sentFor = async (prompt: string) => {
  const [submission] = await submissionsOf(prompt)
  // `as`: the field is the model's own.
  const { image_input: urls } = (submission?.input ?? {}) as { image_input?: string[] }
  return Promise.all(
    (urls ?? []).map(async (url) => {
      const response = await fetch(url)
      expect(response.status, url).toBe(200)
      const bytes = Buffer.from(await response.arrayBuffer())
      return {
        path: new URL(url).pathname,
        type: response.headers.get('content-type'),
        bytes,
        metadata: await sharp(bytes).metadata(),
      }
    }),
  )
}

/** As the model was sent it. */
const prepared = async (bytes: Uint8Array, name?: string) => {
  const { client } = await newTenant()
  const { prompt, job } = await ask(client, bytes, name)
  const done = await finished(client, job.id)
  expect(done.status, JSON.stringify(done.error)).toBe('succeeded')
  const [sent] = await sentFor(prompt)
  if (!sent) throw new Error('nothing was sent')
  return sent
}

/** The colour of one pixel, at a fraction of width and height. */
const colourAt = async (bytes: Buffer, across: number, down: number) => {
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
  const at = (Math.floor(info.height * down) * info.width + Math.floor(info.width * across)) * info.channels
  return [...data.subarray(at, at + info.channels)]
}

const isRed = ([r = 0, g = 0, b = 0]: number[]) => r > 150 && g < 90 && b < 90

describe('is sent', () => {
  test('upright, where the camera only noted how it was held, and without the place it was taken', async () => {
    const bytes = await picture().withExif(GPS).withMetadata({ orientation: 6 }).jpeg().toBuffer()
    const before = await sharp(bytes).metadata()
    expect(before.orientation).toBe(6)
    const { metadata, bytes: sent, path, type } = await prepared(bytes)
    // The blue half, at the file's left, is shown at the top.
    expect(metadata).toMatchObject({ format: 'jpeg', width: 400, height: 600 })
    expect(metadata.orientation ?? 1).toBe(1)
    expect(isRed(await colourAt(sent, 0.5, 0.1))).toBe(false)
    expect(isRed(await colourAt(sent, 0.5, 0.9))).toBe(true)
    expect([path.endsWith('.jpg'), type]).toEqual([true, 'image/jpeg'])
  })

  test('without its place', async () => {
    const bytes = await picture().withExif(GPS).jpeg().toBuffer()
    expect((await sharp(bytes).metadata()).exif?.length).toBeGreaterThan(50)
    const { metadata, bytes: sent } = await prepared(bytes)
    expect(metadata.exif).toBeUndefined()
    expect(sent.includes('Exif')).toBe(false)
  })

  test.each([
    ['in RGB, from CMYK', () => picture().toColourspace('cmyk').jpeg().toBuffer(), 'cmyk.jpg'],
    ['in 8 bits, from 16', () => picture().toColourspace('rgb16').png().toBuffer(), 'deep.png'],
    ['as JPEG, from the first frame of a GIF', film, 'photo.gif'],
    ['as JPEG, from AVIF', () => picture().avif().toBuffer(), 'photo.avif'],
    ['as JPEG, from WebP', () => picture().webp().toBuffer(), 'photo.webp'],
    ['as JPEG, from a PNG without transparency', () => picture().png().toBuffer(), 'photo.png'],
  ])('%s', async (_, make, name) => {
    const { metadata, bytes } = await prepared(await make(), name)
    expect(metadata).toMatchObject({ format: 'jpeg', space: 'srgb', depth: 'uchar', width: 600 })
    expect(isRed(await colourAt(bytes, 0.9, 0.5))).toBe(true)
  })

  const clear = (): Sharp =>
    sharp({ create: { width: 300, height: 200, channels: 4, background: { ...RED, alpha: 0 } } }).composite([
      { input: { create: { width: 100, height: 100, channels: 3, background: RED } } },
    ])
  test.each([
    ['PNG', () => clear().png().toBuffer()],
    ['a PNG with a palette', () => clear().png({ palette: true }).toBuffer()],
    ['WebP', () => clear().webp().toBuffer()],
    ['WebP without loss', () => clear().webp({ lossless: true }).toBuffer()],
    ['AVIF', () => clear().avif().toBuffer()],
    ['a GIF', () => clear().gif().toBuffer()],
  ])('transparent still, as PNG, from %s', async (_, make) => {
    const { metadata, bytes, path, type } = await prepared(await make(), 'clear')
    expect(metadata).toMatchObject({ format: 'png', hasAlpha: true, width: 300, height: 200 })
    expect((await colourAt(bytes, 0.05, 0.05))[3]).toBe(0)
    expect((await colourAt(bytes, 0.5, 0.5))[3]).toBe(255)
    expect([path.endsWith('.png'), type]).toEqual([true, 'image/png'])
  })

  test.each([
    [20_000, 100, 2000, 10],
    [3000, 6000, 1000, 2000],
  ])('%i x %i pixels as %i x %i', async (width, height, ...sides) => {
    const { metadata } = await prepared(await picture(width, height).jpeg().toBuffer())
    expect([metadata.width, metadata.height]).toEqual(sides)
  })

  test('in at most 5 MB, whatever is in it', async () => {
    const noise = sharp({
      create: {
        width: 1400,
        height: 1400,
        channels: 3,
        background: '#888',
        noise: { type: 'gaussian', mean: 128, sigma: 80 },
      },
    })
    const bytes = await noise.ensureAlpha(0.5).png({ compressionLevel: 0 }).toBuffer()
    expect(bytes.length).toBeGreaterThan(7_000_000)
    const { metadata, bytes: sent } = await prepared(bytes, 'noise.png')
    expect(sent.length).toBeLessThanOrEqual(5_000_000)
    expect(metadata).toMatchObject({ format: 'png', hasAlpha: true, width: 980 })
  })
})

const preparedOf = async ({ id }: AssetBody) =>
  (await asOwner<{ prepared: object | null }>('select prepared from assets where id = $1', [id]))[0]?.prepared

test('is prepared once, beside its original, for jobs one after the other and at once', async () => {
  const { client, workspaceId } = await newTenant()
  const { body: asset } = await client.upload('photo.jpg', await picture(3000, 2000).jpeg().toBuffer())
  const prompts = [newPrompt(), newPrompt()]
  const jobs = await Promise.all(
    prompts.map((prompt) => generate(client, { prompt, inputAssetIds: [asset.id] })),
  )
  for (const { id } of jobs) expect((await finished(client, id)).status).toBe('succeeded')
  const [one, other] = (await Promise.all(prompts.map(sentFor))).flat()
  expect(one?.path).toBe(other?.path)
  expect(await preparedOf(asset)).toEqual({
    mimeType: 'image/jpeg',
    width: 2000,
    height: 1333,
    size: one?.bytes.length,
  })
  const inputs = async () => (await objectsOf(workspaceId)).filter((key) => key.includes('/inputs/'))
  expect(await inputs()).toEqual([`workspaces/${workspaceId}/inputs/${asset.id}.jpg`])
  // It counts for nothing: the original and two results are what is stored.
  const { data } = (await client.get<{ data: AssetBody[] }>('/assets')).body
  const { body: usage } = await client.get<{ storage: { used: number } }>('/usage')
  expect(usage.storage.used).toBe(data.reduce((sum, { size }) => sum + size, 0))

  await client.delete(`/assets/${asset.id}`)
  await waitFor('the copy is gone, too', async () => (await inputs()).length === 0)
})

test('what is deleted while it is prepared leaves nothing', async () => {
  const { client, workspaceId } = await newTenant()
  const { asset, job } = await ask(client, await picture(6000, 4000).jpeg().toBuffer())
  await client.delete(`/assets/${asset.id}`)
  const done = await finished(client, job.id)
  await client.post(`/generations/${job.id}/cancel`)
  const outputs = done.outputs.length
  await waitFor('only outputs are left', async () => (await objectsOf(workspaceId)).length === outputs)
})

test('what is broken ends the job as the merchant can mend it, with the credits given back', async () => {
  const { client } = await newTenant()
  const whole = await picture(2000, 1500).jpeg().toBuffer()
  const { asset, job, prompt } = await ask(client, whole.subarray(0, whole.length / 2))
  const done = await finished(client, job.id)
  expect(done).toMatchObject({
    status: 'failed',
    creditsCharged: 0,
    error: { code: 'input_rejected', whoFixes: 'caller', retryable: false },
  })
  expect(await creditsOf(client)).toMatchObject({ reserved: 0, charged: 0 })
  expect(await submissionsOf(prompt)).toEqual([])
  expect(await preparedOf(asset)).toBeNull()
})

test.each([
  ['has too many pixels', [12_000, 9000], { task: 'scene' }, '100 megapixels'],
  [
    'is too narrow for the model once it is scaled',
    [4000, 700],
    { task: 'animate', durationSeconds: 5 },
    '360',
  ],
])('what %s is refused at once', async (_, [width = 0, height = 0], input, words) => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const { body: asset } = await client.upload('photo.png', await picture(width, height).png().toBuffer())
  const answer = await client.post('/generations', { ...input, inputAssetIds: [asset.id] })
  expect(answer).toMatchObject({
    status: 422,
    body: { code: 'validation_failed', errors: [{ pointer: '/inputAssetIds' }] },
  })
  expect(JSON.stringify(answer.body)).toContain(words)
})

test('nor is one of more than 20 MB, which Cloudflare Images does not take', async () => {
  const { client, workspaceId } = await newTenant()
  const { body: asset } = await client.upload('photo.png', await picture(400, 300).png().toBuffer())
  const generates = () => client.post('/generations', { task: 'scene', inputAssetIds: [asset.id] })
  await asOwner('update assets set size = 20000001 where workspace_id = $1', [workspaceId])
  const answer = await generates()
  expect(answer).toMatchObject({ status: 422, body: { errors: [{ pointer: '/inputAssetIds' }] } })
  expect(JSON.stringify(answer.body)).toContain('at most 20 MB')
})

/** Of the models that animate, only fal's makes five seconds. */
test.each([
  ['a solid photo goes to a model that takes no transparency', 1, ['fal'], undefined],
  ['but not a transparent one', 0, [], 'input_rejected'],
])('%s', async (_, alpha, providers, code) => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const bytes = await sharp({
    create: { width: 600, height: 400, channels: 4, background: { ...RED, alpha } },
  })
    [alpha ? 'jpeg' : 'png']()
    .toBuffer()
  const { body: asset } = await client.upload('photo', bytes)
  const prompt = newPrompt()
  const input = { task: 'animate', prompt, durationSeconds: 5, inputAssetIds: [asset.id] }
  const done = await finished(client, (await generate(client, input)).id)
  expect(done.error?.code).toBe(code)
  const response = await fetch(`${stack.models}/submissions`)
  // `as`: the models' own names.
  const all = (await response.json()) as { provider: string; input: { prompt?: string } }[]
  expect(all.flatMap(({ provider, input }) => (input.prompt?.includes(prompt) ? [provider] : []))).toEqual(
    providers,
  )
})
