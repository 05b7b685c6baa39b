/** Sized copies: made once, of whatever merchants upload, without what must not leave. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { download, objectsOf, owed } from '../support/assets.ts'
import { tally, times } from '../support/at-once.ts'
import type { Client } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { film, product, scene } from '../support/pictures.ts'
import { addMember, newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const heic = readFileSync(join(import.meta.dirname, '../support/photo.heic'))

const copyOf = async (client: Client, id: string, query: string) => {
  const response = await fetch(await download(client, id, query))
  expect(response.status).toBe(200)
  const bytes = Buffer.from(await response.arrayBuffer())
  return { bytes, type: response.headers.get('content-type'), metadata: await sharp(bytes).metadata() }
}

const GPS = {
  IFD0: { Copyright: 'Ann', Make: 'Camera' },
  IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '52/1 31/1 0/1' },
}
const animation = (frames: number, side: number) =>
  sharp(
    Array.from({ length: frames }, (_, i) => ({
      create: {
        width: side,
        height: side,
        channels: 3 as const,
        background: { r: (37 * i) % 256, g: (91 * i) % 256, b: 200 },
      },
    })) as never,
    { join: { animated: true } },
  )

test('a copy is upright, smaller, without EXIF and its place, and has the type that was asked for', async () => {
  const { client, workspaceId } = await newTenant()
  const photo = await scene(3000, 2000).withExif(GPS).withMetadata({ orientation: 6 }).jpeg().toBuffer()
  const { body } = await client.upload('photo.jpg', photo)
  for (const format of ['webp', 'jpeg', 'png']) {
    const { bytes, type, metadata } = await copyOf(client, body.id, `?width=320&format=${format}`)
    expect(type).toBe(`image/${format}`)
    expect(metadata).toMatchObject({ width: 320, height: 480, format, space: 'srgb', depth: 'uchar' })
    expect(metadata.exif).toBeUndefined()
    expect(bytes.includes('Exif'), format).toBe(false)
  }
  expect((await copyOf(client, body.id, '?width=64')).metadata).toMatchObject({ width: 64, format: 'webp' })
  const usage = await client.get<{ storage: { used: number; copies: number } }>('/usage')
  expect(usage.body.storage.used).toBe(photo.length)
  expect(usage.body.storage.copies).toBeGreaterThan(1000)
  expect(await objectsOf(workspaceId)).toHaveLength(5)
  expect((await client.delete(`/assets/${body.id}`)).status).toBe(204)
  await waitFor('the objects to go', async () => (await objectsOf(workspaceId)).length === 0)
  expect(await asOwner('select from app.wrong_counters() id where id = $1', [workspaceId])).toEqual([])
})

test('first requests at once make one copy, and later ones ask storage nothing', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('photo.jpg', await scene(2500, 2500).jpeg().toBuffer())
  const answers = await times(6, () => client.get(`/assets/${body.id}/download?width=640`))
  expect(tally(answers)).toEqual({ 302: 6 })
  expect(await objectsOf(workspaceId)).toHaveLength(2)
  expect(await owed(workspaceId)).toEqual([])
  const again = await client.get(`/assets/${body.id}/download?width=640`)
  expect(again.headers.get('server-timing')).toMatch(/^db;desc="1"/)
})

test('a copy whose maker died after its asset was deleted goes, too', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('photo.png', await scene(90, 90).png().toBuffer())
  await copyOf(client, body.id, '?width=64')
  await asOwner('delete from assets where id = $1', [body.id])
  await asOwner(
    "insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, 'copies.delete', $2, now())",
    [workspaceId, body.id],
  )
  await control('cron')
  await waitFor('the copy to go', async () =>
    (await objectsOf(workspaceId)).every((key) => !key.includes('/copies/')),
  )
  await waitFor('nothing is owed', async () => (await owed(workspaceId)).length === 0)
})

test.each([
  ['HEIC, which is kept byte for byte', async () => heic, [64, 48]],
  ['AVIF', () => scene(100, 60).avif().toBuffer(), [64, 38]],
  ['CMYK', () => scene(100, 60).toColourspace('cmyk').jpeg().toBuffer(), [64, 38]],
  ['Display P3', () => scene(100, 60).withIccProfile('p3').png().toBuffer(), [64, 38]],
  ['16 bits', () => scene(100, 60).toColourspace('rgb16').png().toBuffer(), [64, 38]],
  ['a small picture, which stays as it is', () => scene(30, 20).png().toBuffer(), [30, 20]],
])('of %s', async (_, make, [width, height]) => {
  const { client } = await newTenant()
  const original = await make()
  const { status, body } = await client.upload('photo', original)
  expect(status).toBe(201)
  const { metadata } = await copyOf(client, body.id, '?width=64&format=jpeg')
  expect(metadata).toMatchObject({ width, height, format: 'jpeg', space: 'srgb' })
  expect(Buffer.from(await (await fetch(await download(client, body.id))).arrayBuffer())).toEqual(original)
})

test('what is transparent stays so, or is on white', async () => {
  const { client } = await newTenant()
  const { body } = await client.upload('cutout.png', await product(800, 800, 0.5).png().toBuffer())
  const corner = async (format: string) => {
    const { bytes } = await copyOf(client, body.id, `?width=160&format=${format}`)
    return [...(await sharp(bytes).ensureAlpha().raw().toBuffer()).subarray(0, 4)]
  }
  expect((await corner('webp'))[3]).toBe(0)
  expect((await corner('png'))[3]).toBe(0)
  expect(await corner('jpeg')).toEqual([255, 255, 255, 255])
})

test('what moves stays moving, 200 frames too, and one that is too large for that is a still', async () => {
  const { client } = await newTenant()
  const { body } = await client.upload('moving.gif', await animation(200, 100).gif().toBuffer())
  expect((await copyOf(client, body.id, '?width=64')).metadata).toMatchObject({ pages: 200, width: 64 })
  expect((await copyOf(client, body.id, '?width=64&format=png')).metadata.pages).toBeUndefined()
  const { body: huge } = await client.upload('huge.gif', await animation(60, 1000).gif().toBuffer())
  expect((await copyOf(client, huge.id, '?width=64')).metadata.pages ?? 1).toBe(1)
})

test('a width that is not of the list, and files that have no copies', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('photo.png', await scene(50, 50).png().toBuffer())
  for (const query of [
    'width=65',
    'width=-64',
    'width=64.5',
    'width=1e2',
    'width=0x40',
    'width=%2B64',
    'width=',
    'width=64&format=gif',
  ]) {
    expect((await client.get(`/assets/${body.id}/download?${query}`)).body, query).toMatchObject({
      code: 'validation_failed',
    })
  }
  const text = (await client.upload('a.txt', 'text')).body.id
  expect((await client.get(`/assets/${text}/download?width=64`)).body).toMatchObject({
    code: 'validation_failed',
  })
  const viewer = (await addMember(workspaceId, 'viewer')).client
  expect((await viewer.get(`/assets/${body.id}/download?width=64`)).status).toBe(302)
  expect((await (await newTenant()).client.get(`/assets/${body.id}/download?width=64`)).status).toBe(404)
})

const declared = (width: number, height: number) => {
  const head = Buffer.from(
    '89504e470d0a1a0a0000000d49484452000000000000000008060000000000000000',
    'hex',
  ).subarray(0, 33)
  head.writeUInt32BE(width, 16)
  head.writeUInt32BE(height, 20)
  return head
}

test.each([
  ['50,000 x 50,000 pixels declared in 33 bytes', async () => declared(50_000, 50_000)],
  ['a header and nothing else', async () => declared(500, 500)],
  ['half a JPEG', async () => (await scene(900, 900).jpeg().toBuffer()).subarray(0, 60_000)],
  [
    'a GIF that is also HTML',
    async () => Buffer.from('GIF89a/*\0<html><script>alert(1)</script></html>*/=1'),
  ],
])('%s has no copy, and says so, also the second time', async (_, make) => {
  const { client, workspaceId } = await newTenant()
  const { status, body } = await client.upload('photo', await make())
  expect(status, JSON.stringify(body)).toBe(201)
  for (let attempt = 0; attempt < 2; attempt++) {
    const answer = await client.get(`/assets/${body.id}/download?width=64`)
    expect(answer.body).toMatchObject({ status: 422, code: 'not_convertible' })
  }
  expect((await client.get(`/assets/${body.id}/checks`)).status).toBe(200)
  expect(await objectsOf(workspaceId)).toHaveLength(1)
  expect(await owed(workspaceId)).toEqual([])
})

test('a film has a poster: one frame, in each format, once', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('film.mp4', await film({ seconds: 3 }))
  const answers = await times(4, () => client.get(`/assets/${body.id}/download?width=320`))
  expect(tally(answers)).toEqual({ 302: 4 })
  for (const format of ['webp', 'jpeg', 'png']) {
    const { type, metadata } = await copyOf(client, body.id, `?width=320&format=${format}`)
    expect(type).toBe(`image/${format}`)
    expect(metadata).toMatchObject({ width: 320, format })
    expect((metadata.height ?? 0) / 320).toBeCloseTo(1920 / 1080, 1)
  }
  const wide = await copyOf(client, body.id, '?width=2048&format=png')
  expect(wide.metadata.width).toBe(1080)
  const location = await download(client, body.id, '?width=320')
  expect(new URL(location).searchParams.get('response-content-disposition')).toContain('film-320.webp')
  await client.delete(`/assets/${body.id}`)
  await waitFor('the objects to go', async () => (await objectsOf(workspaceId)).length === 0)
})

test.each([
  ['in another codec', () => film({ seconds: 2, codec: 'mpeg4' })],
  ['that is cut off', async () => (await film({ seconds: 3, first: true })).subarray(0, 30_000)],
  ['without its index', async () => (await film({ seconds: 3 })).subarray(0, 60_000)],
])('a film %s has none', async (_, make) => {
  const { client } = await newTenant()
  const { body } = await client.upload('film.mp4', await make())
  for (const _again of [1, 2]) {
    expect(await client.get(`/assets/${body.id}/download?width=320`)).toMatchObject({
      status: 422,
      body: { code: 'not_convertible', detail: expect.stringMatching(/^No poster/) },
    })
  }
})

test('a film that is too large, or no MP4, has none, and a document no copy', async () => {
  const { client } = await newTenant()
  const { body } = await client.upload('film.mp4', await film({ seconds: 2 }))
  await asOwner('update assets set size = 40000000 where id = $1', [body.id])
  const answer = await client.get(`/assets/${body.id}/download?width=64`)
  expect(answer).toMatchObject({ status: 422, body: { detail: expect.stringContaining('40 MB') } })
  const webm = Buffer.from(
    '1a45dfa3a34286810142f7810142f2810442f381084282847765626d42878104428581021853806701ffffffffffffff',
    'hex',
  )
  const other = await client.upload('film.webm', webm)
  expect(other).toMatchObject({ status: 201, body: { mimeType: 'video/webm' } })
  expect((await client.get(`/assets/${other.body.id}/download?width=64`)).body.code).toBe('not_convertible')
  const text = await client.upload('a.txt', 'text')
  expect((await client.get(`/assets/${text.body.id}/download?width=64`)).body.code).toBe('validation_failed')
})
