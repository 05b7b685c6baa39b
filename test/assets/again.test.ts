/** Idempotency keys of uploads and exports: an answer that was lost, and a double click, make one. */
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import type { Client, Page } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { addMember, newTenant } from '../support/tenants.ts'
import { complete, expectNoTrace, put, storedBytes, type UploadBody } from '../support/uploads.ts'

const jpeg = await sharp({ create: { width: 400, height: 400, channels: 3, background: '#369' } })
  .jpeg()
  .toBuffer()
const announced = { name: 'a.jpg', mimeType: 'image/jpeg', size: jpeg.length }
const beginWith = (client: Client, key: string, changes: object = {}) =>
  client.post<UploadBody>('/assets/uploads', { ...announced, ...changes }, { 'idempotency-key': key })
const assetsOf = async (client: Client) => (await client.get<Page<{ id: string }>>('/assets')).body.data

test('ten at once with one key announce one file, which counts once', async () => {
  const { client } = await newTenant()
  const answers = await times(10, () => beginWith(client, 'click'))
  expect(tally(answers)).toEqual({ 201: 10 })
  expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(9)
  const ids = new Set(answers.map(({ body }) => body.asset.id))
  expect((await assetsOf(client)).map(({ id }) => id)).toEqual([...ids])
  expect(await storedBytes(client)).toBe(jpeg.length)
  expect(new Set(answers.map(({ headers }) => headers.get('location'))).size).toBe(1)
  // Any of the URLs will do, once.
  const [one, other] = answers
  expect((await put(one?.body.upload.parts[0]?.target, jpeg)).status).toBe(200)
  expect((await put(other?.body.upload.parts[0]?.target, jpeg)).status).toBe(412)
  const [id = ''] = ids
  expect((await beginWith(client, 'click')).body.upload.parts).toEqual([
    { number: 1, size: jpeg.length, arrived: true },
  ])
  expect((await complete(client, id)).body.status).toBe('ready')
  // After its end likewise, and the order of fields makes no difference.
  const { name, size, mimeType } = announced
  const late = await client.post<UploadBody>(
    '/assets/uploads',
    { size, mimeType, name },
    { 'idempotency-key': 'click' },
  )
  expect(late).toMatchObject({ status: 201, body: { asset: { id, status: 'ready' } } })
})

test('an answer that was lost after the commit is had by asking again', async () => {
  const { client } = await newTenant()
  await control('failDatabase', { count: 1, kind: 'after_commit' })
  const lost = await beginWith(client, 'lost')
  expect([201, 503]).toContain(lost.status)
  expect((await beginWith(client, 'lost')).status).toBe(201)
  expect(await assetsOf(client)).toHaveLength(1)
})

test('another request with the key is refused; another caller, and another workspace, have keys of their own', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await beginWith(client, 'k')
  for (const changes of [{ size: 5 }, { name: 'b.jpg' }, { sha256: '0'.repeat(64) }]) {
    expect(await beginWith(client, 'k', changes)).toMatchObject({
      status: 422,
      body: { code: 'idempotency_key_reused' },
    })
  }
  const job = { task: 'scene', prompt: 'x' }
  expect((await client.post('/generations', job, { 'idempotency-key': 'k' })).status).toBe(422)
  expect((await client.post('/generations', job, { 'idempotency-key': 'job' })).status).toBe(202)
  expect((await beginWith(client, 'job')).status).toBe(422)
  expect((await beginWith(client, '')).status).toBe(422)
  const colleague = (await addMember(workspaceId, 'member')).client
  const stranger = (await newTenant()).client
  for (const other of [colleague, stranger]) {
    expect((await beginWith(other, 'k')).body.asset.id).not.toBe(body.asset.id)
  }
})

test('of an upload that was given up its key says so', async () => {
  const { client } = await newTenant()
  const { body } = await beginWith(client, 'gone')
  await client.delete(`/assets/${body.asset.id}`)
  expect((await beginWith(client, 'gone')).status).toBe(404)
  await expectNoTrace(client)
})

test('parts with a key: what has arrived is not asked for again', async () => {
  const { client } = await newTenant()
  const [first, second] = await times(2, () => beginWith(client, 'large', { size: 100_000_000 }))
  expect(first?.body.asset.id).toBe(second?.body.asset.id)
  const part = Buffer.alloc(33_554_432)
  expect((await put(first?.body.upload.parts[0]?.target, part)).status).toBe(200)
  const { upload } = (await beginWith(client, 'large', { size: 100_000_000 })).body
  expect(upload.parts.map(({ arrived, target }) => [arrived, target !== undefined])).toEqual([
    [true, false],
    [false, true],
    [false, true],
  ])
  await client.delete(`/assets/${first?.body.asset.id}`)
  await expectNoTrace(client)
})

test('exports that are asked for again with their key are made once', async () => {
  const { client, workspaceId } = await newTenant()
  const { body: asset } = await client.upload('a.jpg', jpeg)
  const ask = (channels: string[], key = 'e', id = asset.id) =>
    client.post<{ data: { id: string; status: string }[] }>(
      `/assets/${id}/exports`,
      { channels },
      { 'idempotency-key': key },
    )
  const answers = await times(5, () => ask(['web', 'shopify']))
  expect(tally(answers)).toEqual({ 202: 5 })
  const ids = answers.map(({ body }) => body.data.map(({ id }) => id).join())
  expect(new Set(ids).size).toBe(1)
  await expect
    .poll(async () => (await ask(['web', 'shopify'])).body.data.map(({ status }) => status), {
      timeout: 30_000,
    })
    .toEqual(['succeeded', 'succeeded'])
  for (const id of [asset.id, asset.id.toUpperCase()])
    expect((await ask(['web', 'shopify'], 'e', id)).headers.get('idempotent-replayed')).toBe('true')
  expect(await asOwner('select from asset_exports where workspace_id = $1', [workspaceId])).toHaveLength(2)
  expect(await ask(['web'])).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
  expect((await ask(['web'], 'f')).body.data[0]?.id).not.toBe(answers[0]?.body.data[0]?.id)
})
