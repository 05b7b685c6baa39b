/** A URL to send a file to is good once: also after its asset was deleted, shared or refused, or its workspace deleted. */
import { randomBytes } from 'node:crypto'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { download, objectsOf } from '../support/assets.ts'
import { times } from '../support/at-once.ts'
import type { Client } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { newTenant } from '../support/tenants.ts'
import {
  begin,
  bucket,
  complete,
  expectNoTrace,
  expire,
  put,
  s3,
  type UploadBody,
} from '../support/uploads.ts'
import { waitFor } from '../support/wait-for.ts'

const jpeg = await sharp({ create: { width: 32, height: 20, channels: 3, background: '#369' } })
  .jpeg()
  .toBuffer()
const photo = () => Buffer.concat([jpeg, randomBytes(1000)])

const send = async (client: Client, bytes: Uint8Array, announced: object = {}) => {
  const name = 'photo.jpg'
  const { body } = await begin(client, { name, mimeType: 'image/jpeg', size: bytes.length, ...announced })
  const target = body.upload.parts[0]?.target
  const sent = await put(target, bytes)
  expect(sent.status).toBe(200)
  return { id: body.asset.id, target, again: async () => (await put(target, bytes)).status }
}

/** Bytes of an object; undefined if there is none. */
const sizeOf = async (workspaceId: string, id: string) => {
  const { ok, headers } = await s3.fetch(`${await bucket()}/workspaces/${workspaceId}/assets/${id}`, {
    method: 'HEAD',
  })
  return ok ? Number(headers.get('content-length')) : undefined
}
const emptied = (workspaceId: string, id: string) =>
  waitFor('the object to be empty', async () => (await sizeOf(workspaceId, id)) === 0)

test('of a complete asset that is deleted the URL stays spent, and after its hour nothing is left', async () => {
  const { client, workspaceId } = await newTenant()
  const { id, again } = await send(client, photo())
  expect((await complete(client, id)).status).toBe(200)
  const link = await download(client, id)
  expect((await client.delete(`/assets/${id}`)).status).toBe(204)
  await emptied(workspaceId, id)
  expect(await Promise.all([again(), again()])).toEqual([412, 412])
  // Links to it have nothing to show.
  expect((await (await fetch(link)).arrayBuffer()).byteLength).toBe(0)
  await expectNoTrace(client)
})

test('what is deleted after its hour is gone at once', async () => {
  const { client, workspaceId } = await newTenant()
  const { id } = await send(client, photo())
  expect((await complete(client, id)).status).toBe(200)
  await asOwner(`update uploads set ends_at = now() - interval '61 minutes' where id = $1`, [id])
  await client.delete(`/assets/${id}`)
  await waitFor('the object to go', async () => (await sizeOf(workspaceId, id)) === undefined)
  await expectNoTrace(client)
})

test('of two with the same bytes the one whose object is not needed has a spent URL, too', async () => {
  const { client, workspaceId } = await newTenant()
  const bytes = photo()
  const kept = await send(client, bytes)
  expect((await complete(client, kept.id)).status).toBe(200)
  const other = await send(client, bytes)
  expect((await complete(client, other.id)).body.status).toBe('ready')
  await asOwner(`update outbox set available_at = now() where workspace_id = $1 and kind = 'object.delete'`, [
    workspaceId,
  ])
  await waitFor('its object to be empty', async () => {
    await asOwner(
      `update outbox set available_at = now() where workspace_id = $1 and kind = 'object.delete'`,
      [workspaceId],
    )
    return (await sizeOf(workspaceId, other.id)) === 0
  })
  expect(await other.again()).toBe(412)
  for (const { id } of [kept, other]) {
    const file = await fetch(await download(client, id))
    expect(Buffer.from(await file.arrayBuffer())).toEqual(bytes)
  }
  // The last one takes the object along, whose URL is then spent as well.
  for (const { id } of [kept, other]) await client.delete(`/assets/${id}`)
  await emptied(workspaceId, kept.id)
  expect(await kept.again()).toBe(412)
  await expectNoTrace(client)
})

test('what was not what was announced can not be sent again', async () => {
  const { client, workspaceId } = await newTenant()
  const { id, again } = await send(client, photo(), { sha256: '0'.repeat(64) })
  expect((await complete(client, id)).body.code).toBe('upload_mismatch')
  await emptied(workspaceId, id)
  expect(await again()).toBe(412)
  await expectNoTrace(client)
})

test('sent, completed and deleted at once, many times over: nothing is left', async () => {
  const { client, workspaceId } = await newTenant()
  const bytes = photo()
  const announced = { name: 'photo.jpg', mimeType: 'image/jpeg', size: bytes.length }
  const all = await times(8, () => begin(client, announced))
  await Promise.all(
    all.flatMap(({ body: { asset, upload } }) => [
      put(upload.parts[0]?.target, bytes),
      complete(client, asset.id),
      client.delete(`/assets/${asset.id}`),
    ]),
  )
  for (const { body } of all) {
    await emptied(workspaceId, body.asset.id)
    expect((await put(body.upload.parts[0]?.target, bytes)).status).toBe(412)
  }
  await expectNoTrace(client)
})

test("a deleted workspace's uploads end: URLs are spent, parts are aborted, and nothing is left", async () => {
  const { client, workspaceId } = await newTenant()
  const { id, again } = await send(client, photo())
  expect((await complete(client, id)).status).toBe(200)
  const open = await send(client, photo())
  const large = { name: 'film.jpg', mimeType: 'image/jpeg', size: 100_000_000 }
  const { upload } = (await client.post<UploadBody>('/assets/uploads', large)).body
  const part = randomBytes(33_554_432)
  expect((await put(upload.parts[0]?.target, part)).status).toBe(200)
  expect((await client.delete(`/workspaces/${workspaceId}`)).status).toBe(204)
  // After the days in which it could be restored.
  await asOwner(`update workspaces set deleted_at = now() - interval '31 days' where id = $1`, [workspaceId])
  const due = async () => {
    await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
    await control('cron')
  }
  await waitFor('the objects to be empty', async () => {
    await due()
    const sizes = await Promise.all([id, open.id].map((one) => sizeOf(workspaceId, one)))
    return sizes.every((size) => size === 0)
  })
  expect([await again(), await open.again()]).toEqual([412, 412])
  await waitFor('the parts to go', async () => {
    await due()
    return (await put(upload.parts[0]?.target, part)).status === 404
  })
  await waitFor('nothing to be left', async () => {
    await expire(workspaceId)
    const rows = await asOwner(
      'select from outbox where workspace_id = $1 union all select from uploads where workspace_id = $1',
      [workspaceId],
    )
    return rows.length === 0
  })
  expect(await objectsOf(workspaceId)).toEqual([])
})
