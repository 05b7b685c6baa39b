/** Uploads straight to storage: what is announced, sent, looked at, and what is left of those that lie or never end. */
import { randomBytes } from 'node:crypto'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { download, expectNothing, objectsOf, owed, storedIn } from '../support/assets.ts'
import { tally, times } from '../support/at-once.ts'
import { type AssetBody, type Client, listAll } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { generate } from '../support/generations.ts'
import { addMember, newTenant } from '../support/tenants.ts'
import {
  begin,
  bucket,
  complete,
  expectNoTrace,
  expire,
  put,
  s3,
  sendDirectly,
  sha256,
  storedBytes,
  type UploadBody,
  uploadDirectly,
} from '../support/uploads.ts'
import { waitFor } from '../support/wait-for.ts'

const MB = 1_000_000
const picture = sharp({ create: { width: 32, height: 20, channels: 3, background: '#369' } })
const png = await picture.png().toBuffer()
const jpeg = await picture.jpeg().toBuffer()
/** Noise behind a picture, so that no two are the same. */
const large = (size: number) => Buffer.concat([jpeg, randomBytes(size - jpeg.length)])
const announce = (bytes: Uint8Array, changes: object = {}) => ({
  name: 'photo.jpg',
  mimeType: 'image/jpeg',
  size: bytes.length,
  ...changes,
})
/** Whoever asks later is told, too. */
const expectMismatch = async (client: Client, id: string, detail: string) => {
  expect((await client.get(`/assets/${id}`)).status).toBe(404)
  const problem = { status: 422, code: 'upload_mismatch', detail }
  expect((await complete(client, id)).body).toMatchObject(problem)
  expect((await client.get(`/assets/${id}/upload`)).body).toMatchObject(problem)
  const { client: stranger } = await newTenant()
  expect((await complete(stranger, id)).status).toBe(404)
}
test('a file that is announced, sent and complete is an asset like any other', async () => {
  const { client } = await newTenant()
  const begun = await begin(
    client,
    announce(png, { name: 'ph\u00f6to.png', mimeType: 'image/png', sha256: sha256(png) }),
  )
  expect(begun.status).toBe(201)
  const { asset, upload } = begun.body
  expect(asset).toMatchObject({ name: 'ph\u00f6to.png', status: 'pending', kind: 'image', size: png.length })
  expect(asset.sha256).toBeUndefined()
  expect(upload.parts).toHaveLength(1)
  expect(await storedBytes(client)).toBe(png.length)
  // Nothing can be done with it yet, and asking early harms nothing.
  expect((await client.get(`/assets/${asset.id}/download`)).body.code).toBe('upload_incomplete')
  expect((await complete(client, asset.id)).body.code).toBe('upload_incomplete')
  const input = { task: 'scene', prompt: 'x', inputAssetIds: [asset.id] }
  expect((await client.post('/generations', input)).status).toBe(404)
  const links = await client.post('/assets/downloads', { ids: [asset.id] })
  expect(links.body.data).toEqual([
    { id: asset.id, problem: { code: 'upload_incomplete', detail: expect.any(String) } },
  ])

  expect((await put(upload.parts[0]?.target, png)).status).toBe(200)
  const resumed = await client.get<UploadBody>(`/assets/${asset.id}/upload`)
  expect(resumed.body.upload.parts).toEqual([{ number: 1, size: png.length, arrived: true }])
  const answers = await times(5, () => complete(client, asset.id))
  for (const { status, body } of answers) {
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { status: 'ready', width: 32, height: 20, sha256: sha256(png) },
    })
  }
  const audit = await asOwner(
    `select action, after -> 'sha256' sha256 from audit_logs where resource_id = $1 order by id`,
    [asset.id],
  )
  expect(audit).toEqual([
    { action: 'asset.begin', sha256: null },
    { action: 'asset.complete', sha256: sha256(png) },
  ])
  const file = await fetch(String((await client.get(`/assets/${asset.id}/download`)).headers.get('location')))
  expect(Buffer.from(await file.arrayBuffer())).toEqual(png)
  // The URL is spent.
  expect((await put(upload.parts[0]?.target, png)).status).toBe(412)
  expect((await generate(client, { inputAssetIds: [asset.id] })).status).toBe('queued')
})

test.each([
  ['another length', (bytes: Buffer) => bytes.subarray(1), {}, {}],
  ['more', (bytes: Buffer) => Buffer.concat([bytes, bytes]), {}, {}],
  ['another type', (bytes: Buffer) => bytes, { 'content-type': 'text/html' }, {}],
  ['another disposition', (bytes: Buffer) => bytes, { 'content-disposition': 'inline' }, {}],
  ['no condition', (bytes: Buffer) => bytes, { 'if-none-match': 'x' }, {}],
  ['another key', (bytes: Buffer) => bytes, {}, { from: /[0-9a-f]{4}\?/, to: '0000?' }],
  ['a longer life', (bytes: Buffer) => bytes, {}, { from: 'X-Amz-Expires=3600', to: 'X-Amz-Expires=9999' }],
])(
  'storage refuses %s than was announced',
  async (_, bytesOf, headers, replaced: { from?: string | RegExp; to?: string }) => {
    const { client } = await newTenant()
    const { asset, upload } = (await begin(client, announce(jpeg))).body
    const target = upload.parts[0]?.target
    if (!target) throw new Error('no target')
    const url = replaced.from ? target.url.replace(replaced.from, String(replaced.to)) : target.url
    expect((await put({ ...target, url }, bytesOf(jpeg), headers)).status).toBe(403)
    expect((await complete(client, asset.id)).body.code).toBe('upload_incomplete')
    expect((await client.delete(`/assets/${asset.id}`)).status).toBe(204)
    await expectNoTrace(client)
  },
)

test('an expired URL is refused, and there is a fresh one', async () => {
  const { client, workspaceId } = await newTenant()
  const { asset } = (await begin(client, announce(jpeg))).body
  const expired = new URL(`${await bucket()}/workspaces/${workspaceId}/assets/${asset.id}`)
  expired.searchParams.set('X-Amz-Expires', '60')
  const aws = { signQuery: true, datetime: '20260101T000000Z' }
  const { url } = await s3.sign(expired, { method: 'PUT', aws })
  expect((await fetch(url, { method: 'PUT', body: new Uint8Array(jpeg) })).status).toBe(403)
  const fresh = (await client.get<UploadBody>(`/assets/${asset.id}/upload`)).body.upload.parts[0]
  expect((await put(fresh?.target, jpeg)).status).toBe(200)
  expect((await complete(client, asset.id)).status).toBe(200)
})

test.each([
  ['HTML', '<!doctype html><script>alert(1)</script>', 'image/png'],
  [
    'an SVG with a script',
    '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    'image/png',
  ],
  ['another picture', jpeg, 'image/png'],
  ['what is no text', Buffer.from('text\0'), 'text/plain'],
  ['what stops being text', Buffer.concat([Buffer.alloc(6 * MB, 'a'), Buffer.from([0xff])]), 'text/plain'],
  ['a zip', Buffer.from('PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaa'), 'application/pdf'],
])('%s in place of what was announced leaves nothing behind', async (_, content, mimeType) => {
  const { client } = await newTenant()
  const { answer } = await uploadDirectly(client, Buffer.from(content), { mimeType })
  expect(answer).toMatchObject({ status: 422, body: { code: 'upload_mismatch' } })
  expect((await client.get('/assets')).body.data).toEqual([])
  expect(await storedBytes(client)).toBe(0)
  await waitFor('the object to go', async () => (await storedIn(String(client.workspaceId))) === 0)
  await expectNoTrace(client)
})

test('another SHA-256 than was announced leaves nothing behind, also when it is asked for at once', async () => {
  const { client } = await newTenant()
  const { body } = await begin(client, announce(jpeg, { sha256: sha256(png) }))
  expect((await put(body.upload.parts[0]?.target, jpeg)).status).toBe(200)
  const answers = await times(4, () => complete(client, body.asset.id))
  expect(tally(answers)).toEqual({ 422: 4 })
  await expectMismatch(client, body.asset.id, `Its SHA-256 is ${sha256(jpeg)}: it was deleted.`)
  await expectNoTrace(client)
})

test('refuses to be announced: types, sizes and hashes that are none, and names that are no text', async () => {
  const { client } = await newTenant()
  const tries: [object, number][] = [
    [{ mimeType: 'text/html' }, 415],
    [{ mimeType: 'image/svg+xml' }, 415],
    [{ mimeType: 'constructor' }, 415],
    [{ size: 0 }, 422],
    [{ size: -1 }, 422],
    [{ size: 1.5 }, 422],
    [{ size: 5_000_000_001 }, 422],
    [{ size: '1' }, 422],
    [{ sha256: 'x' }, 422],
    [{ name: 'a\nb' }, 422],
    [{ name: '' }, 422],
    [{ more: 1 }, 422],
  ]
  for (const [changes, status] of tries) {
    expect((await begin(client, announce(jpeg, changes))).status, JSON.stringify(changes)).toBe(status)
  }
  await expectNothing(client)
  expect(await owed(String(client.workspaceId))).toEqual([])
})

test.each([
  'quo"ted.jpg',
  `it's (1)* %41;.jpg`,
  '\u65e5\u672c\u8a9e.jpg',
  `${'\u{1f600}'.repeat(250)}.jpg`,
  '../../x/a  b.jpg',
])('a file named %j is sent and downloaded under its name', async (name) => {
  const { client } = await newTenant()
  const { answer } = await uploadDirectly(client, jpeg, { mimeType: 'image/jpeg', name })
  expect(answer.status).toBe(200)
  const kept = name.split('/').at(-1)
  expect(answer.body.name).toBe(kept)
  const location = String((await client.get(`/assets/${answer.body.id}/download`)).headers.get('location'))
  const file = await fetch(location)
  for (const header of [
    String(file.headers.get('content-disposition')),
    String(new URL(location).searchParams.get('response-content-disposition')),
  ]) {
    const [, plain, extended = ''] =
      /^attachment; filename="([ -~]*)"; filename\*=UTF-8''([!-~]*)$/.exec(header) ?? []
    expect(plain).not.toMatch(/["\\]/)
    expect(decodeURIComponent(extended)).toBe(kept)
  }
})

test('50 at once at the edge of the quota: as many as fit, and all of it comes back', async () => {
  const { client, workspaceId } = await newTenant()
  await asOwner(
    `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
     values ($1, gen_random_uuid(), 'filler', 'document', 'text/plain', $2, 'x', 'upload', 'ready')`,
    [workspaceId, 1024 ** 3 - 7 * 10 * MB],
  )
  const answers = await times(50, () => begin(client, announce(large(1000), { size: 10 * MB })))
  expect(tally(answers)).toEqual({ 201: 7, 402: 43 })
  expect((await client.upload('a.txt', 'some text')).status).toBe(402)
  expect(await storedBytes(client)).toBe(1024 ** 3)
  await expire(workspaceId)
  await waitFor('it is given back', async () => (await storedBytes(client)) === 1024 ** 3 - 70 * MB)
  expect(await asOwner('select from app.wrong_counters() id where id = $1', [workspaceId])).toEqual([])
})

test('others can do nothing with it', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await begin(client, announce(jpeg))
  const { client: stranger } = await newTenant()
  const viewer = (await addMember(workspaceId, 'viewer')).client
  for (const [caller, status] of [
    [stranger, 404],
    [viewer, 403],
  ] as const) {
    expect((await complete(caller, body.asset.id)).status).toBe(status)
    expect((await caller.get(`/assets/${body.asset.id}/upload`)).status).toBe(status)
    expect((await caller.delete(`/assets/${body.asset.id}`)).status).toBe(status)
  }
  expect((await begin(viewer, announce(jpeg))).status).toBe(403)
  expect((await put(body.upload.parts[0]?.target, jpeg)).status).toBe(200)
  expect((await complete(client, body.asset.id)).status).toBe(200)
})

test('what is deleted midway leaves nothing, also what is sent afterwards', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await begin(client, announce(jpeg))
  expect((await client.delete(`/assets/${body.asset.id}`)).status).toBe(204)
  expect((await complete(client, body.asset.id)).status).toBe(404)
  expect(await storedBytes(client)).toBe(0)
  await waitFor('the URL to be spent', async () => (await objectsOf(workspaceId)).length === 1)
  expect((await put(body.upload.parts[0]?.target, jpeg)).status).toBe(412)
  await expectNoTrace(client)
})

test('an upload that is abandoned is given up, and one that is complete is not', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await begin(client, announce(jpeg))
  expect((await put(body.upload.parts[0]?.target, jpeg)).status).toBe(200)
  const kept = (await uploadDirectly(client, png, { mimeType: 'image/png' })).id
  await expire(workspaceId)
  await waitFor('nothing is owed', async () => (await owed(workspaceId)).length === 0)
  expect((await listAll<AssetBody>(client, '/assets?limit=10')).map(({ id }) => id)).toEqual([kept])
  expect(await objectsOf(workspaceId)).toEqual([expect.stringContaining(kept)])
  const [audit] = await asOwner(
    `select actor_type, before -> 'name' as name from audit_logs where resource_id = $1 and action = 'asset.expire'`,
    [body.asset.id],
  )
  expect(audit).toEqual({ actor_type: 'system', name: 'photo.jpg' })
})

test('what is found good while its end is decided is whole, and what comes later is refused', async () => {
  const { client, workspaceId } = await newTenant()
  const id = await sendDirectly(client, jpeg, { mimeType: 'image/jpeg' })
  const turn = await holdRow('workspaces', workspaceId)
  const completing = complete(client, id)
  await turn.whenWaiting(1)
  await expire(workspaceId)
  await turn.whenWaiting(2)
  await turn.release()
  expect((await completing).body.status).toBe('ready')
  await waitFor('nothing is owed', async () => (await owed(workspaceId)).length === 0)
  const file = await fetch(await download(client, id))
  expect(Buffer.from(await file.arrayBuffer())).toEqual(jpeg)

  const late = await sendDirectly(client, png, { mimeType: 'image/png' })
  await asOwner(`update uploads set ends_at = now() - interval '3 hours' where id = $1`, [late])
  expect((await complete(client, late)).body.code).toBe('upload_expired')
})

const sendEvent = (key: string, action = 'PutObject') =>
  control('tellArrivals', [
    {
      account: '3f4b7e3dcab231cbfdaa90a6a28bd548',
      action,
      bucket: 'merchant-assets',
      object: { key, size: 1000, eTag: 'c846ff7a18f28c2e262116d6e8719ef0' },
      eventTime: new Date().toISOString(),
    },
  ])

test('where the bucket tells of it, completion needs no call', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await begin(client, announce(jpeg))
  const key = `workspaces/${workspaceId}/assets/${body.asset.id}`
  // Too early, of nothing, and of other things.
  for (const other of [key, `workspaces/${workspaceId}/inputs/x.jpg`, 'x', `${key}x`]) await sendEvent(other)
  await sendEvent(key, 'DeleteObject')
  expect((await put(body.upload.parts[0]?.target, jpeg)).status).toBe(200)
  await sendEvent(key)
  await sendEvent(key)
  const ready = async () => (await client.get<AssetBody>(`/assets/${body.asset.id}`)).body
  await waitFor('it is ready', async () => (await ready()).status === 'ready')
  expect(await ready()).toMatchObject({ sha256: sha256(jpeg), width: 32 })
  const lie = (await begin(client, announce(png))).body
  expect((await put(lie.upload.parts[0]?.target, png)).status).toBe(200)
  await sendEvent(`workspaces/${workspaceId}/assets/${lie.asset.id}`)
  await waitFor('the lie goes', async () => (await client.get(`/assets/${lie.asset.id}`)).status === 404)
  await expectMismatch(client, lie.asset.id, 'It is image/png and not image/jpeg. It was deleted.')
})

test('parts: in any order, again, resumed, and never an object before all are there', async () => {
  const { client, workspaceId } = await newTenant()
  const bytes = large(101 * MB)
  const { body } = await begin(client, announce(bytes, { sha256: sha256(bytes) }))
  const { asset, upload } = body
  const sizes = upload.parts.map(({ size }) => size)
  expect(sizes).toEqual([33_554_432, 33_554_432, 33_554_432, 101 * MB - 3 * 33_554_432])
  const partOf = (number: number) => bytes.subarray((number - 1) * 33_554_432, number * 33_554_432)
  const send = (number: number, from = upload) => put(from.parts[number - 1]?.target, partOf(number))
  for (const number of [4, 2]) expect((await send(number)).status).toBe(200)
  // Of another length, and in another's place.
  expect((await put(upload.parts[0]?.target, partOf(4))).status).toBe(403)
  const arrived = async () => {
    const { body: now } = await client.get<UploadBody>(`/assets/${asset.id}/upload`)
    return now.upload.parts.map((part) => part.arrived)
  }
  expect(await arrived()).toEqual([false, true, false, true])
  expect((await complete(client, asset.id)).body.code).toBe('upload_incomplete')
  const again = (await client.get<UploadBody>(`/assets/${asset.id}/upload`)).body.upload
  for (const number of [3, 1]) expect((await send(number, again)).status).toBe(200)
  expect((await send(4)).status).toBe(200)
  expect(await arrived()).toEqual([true, true, true, true])
  expect(await objectsOf(workspaceId)).toEqual([])
  const answers = await times(3, () => complete(client, asset.id))
  expect(tally(answers)).toEqual({ 200: 3 })
  const ready = async () => (await client.get<AssetBody>(`/assets/${asset.id}`)).body
  await waitFor('it has been read', async () => (await ready()).status === 'ready')
  expect(await ready()).toMatchObject({ sha256: sha256(bytes), width: 32, size: bytes.length })
  expect((await send(1)).status).toBe(404)
  expect((await complete(client, asset.id)).body.status).toBe('ready')
}, 60_000)

test('parts that somebody else has completed, and had read meanwhile, are complete', async () => {
  const { client, workspaceId } = await newTenant()
  const id = await sendDirectly(client, large(100 * MB), { mimeType: 'image/jpeg' })
  const turn = await holdRow('workspaces', workspaceId)
  const completing = complete(client, id)
  await turn.whenWaiting(1)
  await turn.release(`update assets set status = 'ready', sha256 = repeat('0', 64) where id = '${id}'`)
  expect(await completing).toMatchObject({ status: 200, body: { status: 'ready' } })
}, 60_000)

test.each(['deleted', 'abandoned', 'another hash'])(
  'parts that were sent in vain (%s) go as well',
  async (how) => {
    const { client, workspaceId } = await newTenant()
    const bytes = large(100 * MB)
    const { asset, upload } = (await begin(client, announce(bytes, { sha256: sha256(png) }))).body
    const parts = how === 'another hash' ? upload.parts : upload.parts.slice(0, 1)
    for (const { number, target, size } of parts) {
      const start = (number - 1) * 33_554_432
      expect((await put(target, bytes.subarray(start, start + size))).status).toBe(200)
    }
    if (how === 'deleted') expect((await client.delete(`/assets/${asset.id}`)).status).toBe(204)
    if (how === 'another hash') expect((await complete(client, asset.id)).status).toBe(200)
    if (how === 'another hash') {
      await waitFor('it goes', async () => (await client.get(`/assets/${asset.id}`)).status === 404)
      await expectMismatch(client, asset.id, `Its SHA-256 is ${sha256(bytes)}: it was deleted.`)
    }
    if (how !== 'abandoned') {
      await waitFor('it goes', async () => (await client.get(`/assets/${asset.id}`)).status === 404)
      await waitFor(
        'the upload ends',
        async () => (await put(upload.parts[0]?.target, bytes.subarray(0, 33_554_432))).status === 404,
      )
    }
    await expire(workspaceId)
    await expectNoTrace(client)
  },
  60_000,
)
