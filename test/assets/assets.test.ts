/** Assets: their quota, how they are listed and renamed, and what is left after they are deleted. */
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { download, objectsOf, owed } from '../support/assets.ts'
import { tally, times } from '../support/at-once.ts'
import { type AssetBody, listAll, type Page } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const MB = 1024 * 1024
const png = await sharp({ create: { width: 32, height: 20, channels: 3, background: '#369' } })
  .png()
  .toBuffer()

test('answers 402 above the quota, which holds for uploads at the same time', async () => {
  const { client, workspaceId } = await newTenant()
  const fill = `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
    values ($1, gen_random_uuid(), 'filler', 'document', 'text/plain', $2, 'x', 'upload', 'ready')`
  await asOwner(fill, [workspaceId, 1024 * MB - 150_000])
  const answers = await times(3, (i) => client.upload('a.txt', String(i).repeat(100_000)))
  expect(tally(answers)).toEqual({ 201: 1, 402: 2 })
  expect(await objectsOf(workspaceId)).toHaveLength(1)
  expect((await client.upload('a.txt', 'a'.repeat(100_000))).body.code).toBe('storage_quota_exceeded')
})

test('a deleted asset is gone at once, its object and presigned URLs soon', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('a.txt', 'text')
  const url = await download(client, body.id)
  expect((await fetch(url)).status).toBe(200)
  expect((await client.delete(`/assets/${body.id}`)).status).toBe(204)
  expect((await client.get(`/assets/${body.id}/download`)).status).toBe(404)
  expect((await client.delete(`/assets/${body.id}`)).status).toBe(404)
  await waitFor('the object to go', async () => (await fetch(url)).status === 404)
  await waitFor('nothing is owed', async () => (await owed(workspaceId)).length === 0)
})

test('lists by filter, page by page, in an order that new files do not disturb', async () => {
  const { client } = await newTenant()
  const uploads = await times(4, (i) => client.upload(`100%_${i}.txt`, `text ${i}`))
  const picture = (await client.upload('100 1.png', png)).body.id
  const page = async (query: string) => {
    const { body } = await client.get<Page<AssetBody>>(`/assets?${query}`)
    return { ids: body.data.map(({ id }) => id), next: body.nextCursor }
  }
  const ids = uploads.map(({ body }) => body.id)
  const newest = [picture, ...ids.sort().reverse()]
  const first = await page('limit=2')
  const late = (await client.upload('late.txt', 'late')).body.id
  const second = await page(`limit=2&cursor=${first.next}`)
  expect([...first.ids, ...second.ids]).toEqual(newest.slice(0, 4))
  expect(await page(`limit=2&cursor=${second.next}`)).toEqual({ ids: newest.slice(4), next: null })
  expect((await page('kind=image')).ids).toEqual([picture])
  expect((await page('q=100%25_')).ids).toEqual(newest.slice(1))
  expect((await page('q=LATE&kind=document&source=upload&status=ready')).ids).toEqual([late])
  for (const none of ['kind=video', 'source=generation', 'status=pending', 'q=%25%25'])
    expect((await page(none)).ids, none).toEqual([])
})

test('a search finds what is rare among many, and goes on page by page where no index helps', async () => {
  const { client, workspaceId } = await newTenant()
  const { body: oldest } = await client.upload('needle.txt', 'text')
  await asOwner(
    `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
     select $1, app.uuid_v7(), 'hay', 'image', 'image/png', 1, gen_random_uuid(), 'generation', 'ready' from generate_series(1, 3000)`,
    [workspaceId],
  )
  const { body: newest } = await client.upload('needle.txt', 'text')
  for (const q of ['needle', 'NEEDLE.txt', 'needle&source=upload', 'needle&kind=document&status=ready']) {
    const { body } = await client.get<Page<AssetBody>>(`/assets?q=${q}`)
    expect(body, q).toEqual({ data: [newest, oldest], nextCursor: null })
  }
  const { body: paged } = await client.get<Page<AssetBody>>('/assets?q=needle&limit=1')
  expect(paged).toEqual({ data: [newest], nextCursor: expect.any(String) })
  expect(await listAll<AssetBody>(client, '/assets?q=needle&limit=1')).toEqual([newest, oldest])
  // Too short for the index: as many names are looked at as a page may.
  const { body: short } = await client.get<Page<AssetBody>>('/assets?q=le.')
  expect(short).toEqual({ data: [newest], nextCursor: expect.any(String) })
  expect(await listAll<AssetBody>(client, '/assets?q=le.')).toEqual([newest, oldest])
  const filtered = await client.get<Page<AssetBody>>('/assets?q=le.&source=upload')
  expect(filtered.body).toEqual({ data: [newest, oldest], nextCursor: null })
})

test('renames an asset, and answers 422 to names that are empty, too long or not text', async () => {
  const { client } = await newTenant()
  const { id } = (await client.upload('a.txt', 'text')).body
  const renamed = await client.patch(`/assets/${id}`, { name: ' \u00fc/../b".txt ' })
  expect(renamed.body.name).toBe('\u00fc/../b".txt')
  expect(decodeURIComponent(decodeURIComponent(await download(client, id)))).toContain('\u00fc/../b".txt')
  for (const name of ['', ' ', 'x'.repeat(256), 'a\0', '\ud800', 1, null])
    expect((await client.patch(`/assets/${id}`, { name })).status).toBe(422)
})
